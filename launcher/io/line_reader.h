// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "launcher/io/byte_source.h"

namespace unmask::launcher {

/// Lines of a descriptor or another source (not owned), without their line feed; a last line may lack it. Memory stays bounded on endless lines.
class LineReader {
 public:
  static constexpr std::size_t kLongestLine = std::size_t{64} << 20;  ///< bytes

  LineReader(int descriptor, std::string name)
      : owned_(std::make_unique<DescriptorSource>(descriptor, std::move(name))), source_(*owned_) {}
  explicit LineReader(ByteSource& source) : source_(source) {}

  struct Line {
    std::int64_t number = 0;  ///< from 1
    std::string text;
    bool too_long = false;    ///< more than kLongestLine: text is empty, the rest was skipped
  };
  /// The next line; nothing at the end of the input. Throws what the source throws.
  std::optional<Line> next();

  /// Whether next() can answer without waiting for more input: time to flush if not.
  bool has_line() const { return buffer_.find('\n', begin_) != std::string::npos; }

 private:
  bool fill();

  std::unique_ptr<ByteSource> owned_;
  ByteSource& source_;
  std::string buffer_;
  std::size_t begin_ = 0;  ///< of what next() has not taken yet
  std::int64_t number_ = 0;
  bool at_end_ = false;
};

}  // namespace unmask::launcher
