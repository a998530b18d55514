// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "base/thread_team.h"
#include "runtime/checkpoint.h"
#include "runtime/stored_parts.h"

namespace unmask::runtime {

/// What a load has to do: `num_pieces` pieces of `num_bytes` together. read(i, staging) reads one and returns its bytes.
struct LoadWork {
  std::size_t num_pieces = 0;
  std::uint64_t num_bytes = 0;
  std::function<std::uint64_t(std::size_t, Staging&)> read;
};

/// Reads all pieces on all members of the team, handed out in order. The first failure stops all of them and is thrown.
void read_all(const LoadWork& work, ThreadTeam& team, const std::function<void(const LoadProgress&)>& progress);

}  // namespace unmask::runtime
