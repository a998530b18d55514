// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace unmask {

/// A 64-bit sum over bytes that any single changed bit changes: what --verify-messages and packed models are
/// checked with. Not against ill will.
std::uint64_t checksum(std::span<const std::byte> bytes);

}  // namespace unmask
