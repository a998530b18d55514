// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "runtime/input_file.h"

namespace unmask::bench {

/// A new file that bears another name until it is complete, and is removed when it never gets there.
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Writes at any place, from any thread. Throws Error(kIo), when the disk is full among others.
  void write(std::uint64_t offset, std::span<const std::byte> bytes) const;
  /// Gives the file its name.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path partial_;
  runtime::FileDescriptor descriptor_;
};

}  // namespace unmask::bench
