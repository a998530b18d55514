// SPDX-License-Identifier: Apache-2.0
// Device memory: the host's, between guard zones, filled with 0xFF (not a number as a float, -1 as an integer).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace simulator {

inline constexpr unsigned char kGuardByte = 0xA5;

/// Null where the simulated device has no more.
void* allocate(std::size_t bytes);
/// False for what was never allocated, or is freed already. Throws Fault where a guard zone was written to.
bool release(void* memory);
/// Throws Fault naming the kernel if a guard zone of any allocation was written to.
void check_guards(std::string_view kernel);
/// Throws Fault if [memory, memory + bytes) begins in device memory and does not end in it.
void check_range(const void* memory, std::size_t bytes, std::string_view call);
bool is_device_memory(const void* memory);
std::size_t free_bytes();
std::size_t total_bytes();

}  // namespace simulator
