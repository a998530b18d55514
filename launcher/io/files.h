// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace unmask::launcher {

/// The whole of a small file. Throws Error(kBadInput): it cannot be read, is no regular file or pipe, or holds more than max_bytes.
std::string read_small_file(const std::filesystem::path& file, std::uint64_t max_bytes);

/// The same, but nothing where there is no such file.
std::optional<std::string> read_file_if_there(const std::filesystem::path& file, std::uint64_t max_bytes);

}  // namespace unmask::launcher
