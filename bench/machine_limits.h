// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "base/thread_team.h"
#include "experts/kernels.h"

namespace unmask::bench {

/// Products and sums per second of the instructions that a kernel family multiplies with (tiles, or multiply-adds of its widest
/// registers), on all members of the team at once: a loop of about 10 ms without any memory. The family must be supported.
double peak_flops(ThreadTeam& team, const experts::KernelFamily& family);

/// Bytes per second at which the team reads all of these pieces once; together they should be larger than any cache.
double read_bytes_per_second(ThreadTeam& team, std::span<const std::span<const std::byte>> pieces);

}  // namespace unmask::bench
