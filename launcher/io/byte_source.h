// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace unmask::launcher {

/// Bytes that come one after the other: of a file, a pipe, what unpacks another source.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  /// Waits for at least one byte; 0 at the end. Throws Error(kIo) or, for broken contents, Error(kBadInput).
  virtual std::size_t read(std::span<char> into) = 0;
};

/// A descriptor that somebody else owns.
class DescriptorSource : public ByteSource {
 public:
  /// `is_cancelled` may be empty; once it says true, a wait for more bytes ends soon, as if the source had ended.
  DescriptorSource(int descriptor, std::string name, std::function<bool()> is_cancelled = {});

  std::size_t read(std::span<char> into) override;

 private:
  bool wait() const;

  int descriptor_;
  std::string name_;
  std::function<bool()> is_cancelled_;
};

/// The bytes of another source, unpacked where they begin as a zstd file does; any number of frames may follow each other.
class UnpackedSource : public ByteSource {
 public:
  /// `packed` must outlive it.
  UnpackedSource(ByteSource& packed, std::string name);
  ~UnpackedSource() override;

  std::size_t read(std::span<char> into) override;
  /// Of the packed source.
  std::uint64_t num_bytes_taken() const { return num_bytes_taken_; }

 private:
  struct Stream;
  bool fill();
  void look_at_beginning();

  ByteSource& packed_;
  std::string name_;
  std::unique_ptr<Stream> stream_;  ///< null where the bytes are not packed
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  ///< of what was read and not given on
  std::uint64_t num_bytes_taken_ = 0;
  bool looked_ = false;
};

}  // namespace unmask::launcher
