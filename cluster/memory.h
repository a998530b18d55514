// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

namespace unmask::cluster {

/// What this process may still allocate before the kernel swaps or kills: the machine's MemAvailable, or what is left below
/// the tightest limit of the control groups (v1 or v2) that hold it, whichever is less. Their file cache counts as free.
std::uint64_t available_memory_bytes();

/// The most memory this process has had resident so far, less what others now count of it: a page shared by n processes counts
/// as 1/n, where the kernel tells. So it sums up over the ranks of a host.
std::uint64_t peak_memory_bytes();

/// Resident memory, a page shared by n processes counted as 1/n: sums up over the ranks of a host. 0 where the kernel does not
/// tell.
std::uint64_t proportional_memory_bytes();

/// available_memory_bytes() of a system whose /proc and /sys are found below `root`: for tests.
std::uint64_t available_memory_bytes(const std::filesystem::path& root);

}  // namespace unmask::cluster
