// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "runtime/input_file.h"

namespace unmask::runtime {

/// A new file that bears another name in the same folder until it is complete, and is removed when it never gets there: nobody
/// ever sees half a file. Where the file system can, it has no name at all until then, so that a killed process leaves nothing
/// either. A device or a pipe is written to as it stands, in order. All of it throws Error(kIo), when the disk is full among
/// others.
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path);
  /// Checks what can be known before there is anything to write.
  static void require_place(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Sets so many bytes of the disk aside, where the file system can: what does not fit is known before the work.
  void reserve(std::uint64_t bytes) const;
  /// Writes at any place, from any thread.
  void write(std::uint64_t offset, std::span<const std::byte> bytes) const;
  /// Returns when all that was written is on disk.
  void sync() const;
  /// Gives the file its name, in the place of an older one.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path partial_;  ///< empty for a device or a pipe
  bool is_named_ = false;          ///< by `partial_`
  FileDescriptor descriptor_;
};

}  // namespace unmask::runtime
