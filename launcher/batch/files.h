// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace unmask::launcher {

/// A file that is only ever read, appended to, or cut. All of it throws Error(kIo) with the file's name.
class AppendFile {
 public:
  virtual ~AppendFile() = default;

  virtual std::uint64_t num_bytes() const = 0;
  /// Fewer bytes than asked for only at the end.
  virtual std::size_t read(std::uint64_t offset, std::span<char> into) const = 0;
  /// After an error some of the bytes may be there.
  virtual void append(std::string_view bytes) = 0;
  virtual void truncate(std::uint64_t num_bytes) = 0;
  /// Returns when all of it is on disk.
  virtual void sync() = 0;
  /// For this process alone, until the file is closed; num_bytes() is then what the one before left. False: another has it.
  virtual bool try_lock() = 0;
};

/// What the batch needs of a file system. Tests put one in its place that fails, and one that loses what was not synced.
class Files {
 public:
  virtual ~Files() = default;

  /// Makes the file where it is missing, durably: its name is on disk.
  virtual std::unique_ptr<AppendFile> open(const std::filesystem::path& file) = 0;
};

/// The operating system's.
class SystemFiles : public Files {
 public:
  std::unique_ptr<AppendFile> open(const std::filesystem::path& file) override;
  /// For reading alone; the file must be there. Its lock is shared with other readers.
  static std::unique_ptr<AppendFile> open_for_reading(const std::filesystem::path& file);
};

}  // namespace unmask::launcher
