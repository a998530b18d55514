// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/limits.h"
#include "runtime/tokenizer/tokenizer.h"

namespace unmask::runtime::chat {

enum class Origin { kTemplate, kUser };

/// An immutable UTF-8 string that knows which of its bytes a user wrote: a view of a shared buffer.
///
/// buffer  |....view A....|+ appended by A + B|     A + B writes behind A where A is the buffer's end, so that a string that
///          ^begin         ^A's end             ^   grows in a loop is copied once, not once per turn
class Text {
 public:
  Text() = default;
  /// One origin for all bytes. Never appended to, so it may be shared by threads.
  Text(std::string bytes, Origin origin);

  std::string_view bytes() const {
    return buffer_ ? std::string_view(buffer_->bytes).substr(begin_, end_ - begin_) : std::string_view();
  }
  std::size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  Text slice(std::size_t begin, std::size_t end) const;  ///< byte offsets
  /// The user's bytes, relative to this text.
  std::vector<SourcedText::Span> user() const;

  friend Text concat(const Text& a, const Text& b, Meter& meter);

 private:
  friend class TextBuilder;
  struct Buffer {
    std::string bytes;
    std::vector<SourcedText::Span> user;
    bool growable = false;

    void mark_user(std::size_t begin, std::size_t end);
  };
  /// First span of the buffer that ends behind `at`.
  std::vector<SourcedText::Span>::const_iterator span_at(std::size_t at) const;

  std::shared_ptr<Buffer> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

/// Writes one Text piece by piece; charges the meter and refuses to grow past its limit.
class TextBuilder {
 public:
  explicit TextBuilder(Meter& meter) : meter_(&meter), buffer_(std::make_shared<Text::Buffer>()) {}

  void append(const Text& text);
  void append(std::string_view bytes, Origin origin);
  void append(char32_t code_point, Origin origin);
  Text finish();  ///< the builder is empty afterwards

 private:
  Meter* meter_;
  std::shared_ptr<Text::Buffer> buffer_;
};

/// Walks over code points together with their origin, in linear time.
class TextReader {
 public:
  explicit TextReader(const Text& text) : bytes_(text.bytes()), user_(text.user()) {}

  bool done() const { return at_ >= bytes_.size(); }
  std::size_t at() const { return at_; }
  /// Reads one code point and steps behind it.
  char32_t next();
  Origin origin() const { return origin_; }  ///< of the code point read last

 private:
  std::string_view bytes_;
  std::vector<SourcedText::Span> user_;
  std::size_t span_ = 0;
  std::size_t at_ = 0;
  Origin origin_ = Origin::kTemplate;
};

}  // namespace unmask::runtime::chat
