// SPDX-License-Identifier: Apache-2.0
#include "launcher/io/files.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include "base/error.h"

namespace unmask::launcher {

std::string read_small_file(const std::filesystem::path& file, std::uint64_t max_bytes) {
  std::error_code error;
  require(!std::filesystem::is_directory(file, error), ExitCode::kBadInput, "{}: expected a file, found a folder", file.string());
  std::ifstream in(file, std::ios::binary);
  require(in.is_open(), ExitCode::kBadInput, "{}: cannot be read: {}", file.string(), std::strerror(errno));
  std::string bytes;
  char chunk[1 << 14];
  while (in.read(chunk, sizeof chunk) || in.gcount() > 0) {
    bytes.append(chunk, static_cast<std::size_t>(in.gcount()));
    require(bytes.size() <= max_bytes, ExitCode::kBadInput, "{}: expected at most {} bytes, found more", file.string(), max_bytes);
  }
  return bytes;
}

std::optional<std::string> read_file_if_there(const std::filesystem::path& file, std::uint64_t max_bytes) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return std::nullopt;
  }
  return read_small_file(file, max_bytes);
}

}  // namespace unmask::launcher
