// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/file_descriptor.h"

namespace unmask::runtime {

/// What an errno means, for messages; safe to call from any thread.
std::string error_text(int error);

using unmask::FileDescriptor;

/// A regular file (or a link to one), open for reading at any place from any thread.
class InputFile {
 public:
  /// Throws Error(kBadInput) where it is missing, may not be read, or is a folder, pipe or device.
  explicit InputFile(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  /// As it was when opened.
  std::uint64_t num_bytes() const { return num_bytes_; }

  /// Fills `into` from byte `offset` on. Throws Error(kBadInput) where the file ends before, Error(kIo) where reading fails.
  void read(std::uint64_t offset, std::span<std::byte> into) const;

  /// Tells the kernel to read far ahead.
  void expect_sequential_reads() const;

 private:
  std::filesystem::path path_;
  FileDescriptor descriptor_;
  std::uint64_t num_bytes_ = 0;
};

/// More than any of the JSON files beside a checkpoint's weights has, tokenizer.json apart.
inline constexpr std::uint64_t kMaxSideFileBytes = std::uint64_t{64} << 20;

/// A whole small file. Throws as InputFile does, and Error(kBadInput) where it is longer than `max_bytes`.
std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes);

}  // namespace unmask::runtime
