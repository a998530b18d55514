// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>

#include "base/thread_team.h"
#include "experts/matrix.h"
#include "runtime/checkpoint.h"

namespace unmask::runtime {

struct PackOptions {
  experts::WeightType expert_type = experts::WeightType::kBf16;
  std::filesystem::path output;
  std::function<void(const LoadProgress&)> progress = {};  ///< bytes of the file; called from the calling thread now and then
};

/// Writes a packed model (packed_file.h) of a checkpoint folder, block by block on all members of the team. The file has its
/// name when all of it is on disk. Returns its bytes. Throws Error(kBadInput) for weights that are not finite, and where
/// the checkpoint is packed already; Error(kIo).
std::uint64_t write_packed(const Checkpoint& checkpoint, ThreadTeam& team, const PackOptions& options);

}  // namespace unmask::runtime
