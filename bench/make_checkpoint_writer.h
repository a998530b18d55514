// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

#include "base/thread_team.h"

namespace unmask::bench {

struct MakeCheckpointOptions {
  std::filesystem::path config;  ///< any config.json that the runtime accepts; copied as it is
  std::filesystem::path output;  ///< a folder that is empty or not there yet
  std::uint64_t seed = 0;
  std::uint64_t shard_bytes = 5'000'000'000;  ///< of tensors in a file; a larger tensor has a file of its own
};

/// Writes a random checkpoint in Hugging Face's form, all tensors BF16, the same for any number of threads. `tell` hears a
/// line per file. A file gets its name only when it is complete; after an error, nothing is left. Throws Error.
void make_checkpoint(const MakeCheckpointOptions& options, ThreadTeam& team, const std::function<void(std::string_view)>& tell);

}  // namespace unmask::bench
