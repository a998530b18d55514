// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/text.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/chat/unicode.h"

namespace unmask::runtime::chat {

Text::Text(std::string bytes, Origin origin) : buffer_(std::make_shared<Buffer>()), end_(bytes.size()) {
  buffer_->bytes = std::move(bytes);
  if (origin == Origin::kUser) {
    buffer_->mark_user(0, end_);
  }
}

void Text::Buffer::mark_user(std::size_t begin, std::size_t end) {
  if (begin == end) {
    return;
  }
  if (!user.empty() && user.back().end == begin) {
    user.back().end = end;
  } else {
    user.push_back({begin, end});
  }
}

Text Text::slice(std::size_t begin, std::size_t end) const {
  Text part = *this;
  part.begin_ = begin_ + begin;
  part.end_ = begin_ + end;
  return part;
}

std::vector<SourcedText::Span>::const_iterator Text::span_at(std::size_t at) const {
  return std::upper_bound(buffer_->user.begin(), buffer_->user.end(), at,
                          [](std::size_t value, const SourcedText::Span& span) { return value < span.end; });
}

std::vector<SourcedText::Span> Text::user() const {
  std::vector<SourcedText::Span> spans;
  if (empty()) {
    return spans;
  }
  for (auto span = span_at(begin_); span != buffer_->user.end() && span->begin < end_; ++span) {
    spans.push_back({std::max(span->begin, begin_) - begin_, std::min(span->end, end_) - begin_});
  }
  return spans;
}

Text concat(const Text& a, const Text& b, Meter& meter) {
  if (a.empty() || b.empty()) {
    return a.empty() ? b : a;
  }
  if (!a.buffer_->growable || a.end_ != a.buffer_->bytes.size()) {
    TextBuilder builder(meter);
    builder.append(a);
    builder.append(b);
    return builder.finish();
  }
  meter.check_size(a.buffer_->bytes.size() + b.size());
  meter.bytes(b.size());
  const std::vector<SourcedText::Span> user = b.user();
  Text sum = a;
  std::string& bytes = sum.buffer_->bytes;
  bytes.resize(a.end_ + b.size());  // may move the bytes of b too: it is read afterwards
  std::memcpy(bytes.data() + a.end_, b.bytes().data(), b.size());
  for (const SourcedText::Span& span : user) {
    sum.buffer_->mark_user(a.end_ + span.begin, a.end_ + span.end);
  }
  sum.end_ = bytes.size();
  return sum;
}

void TextBuilder::append(const Text& text) {
  if (text.empty()) {
    return;
  }
  const std::size_t at = buffer_->bytes.size();
  meter_->check_size(at + text.size());
  meter_->bytes(text.size());
  buffer_->bytes.append(text.bytes());
  for (auto span = text.span_at(text.begin_); span != text.buffer_->user.end() && span->begin < text.end_; ++span) {
    buffer_->mark_user(at + std::max(span->begin, text.begin_) - text.begin_, at + std::min(span->end, text.end_) - text.begin_);
  }
}

void TextBuilder::append(std::string_view bytes, Origin origin) {
  const std::size_t at = buffer_->bytes.size();
  meter_->check_size(at + bytes.size());
  meter_->bytes(bytes.size());
  buffer_->bytes.append(bytes);
  if (origin == Origin::kUser) {
    buffer_->mark_user(at, at + bytes.size());
  }
}

void TextBuilder::append(char32_t code_point, Origin origin) {
  const std::size_t at = buffer_->bytes.size();
  meter_->check_size(at + 4);
  append_utf8(buffer_->bytes, code_point);
  if (origin == Origin::kUser) {
    buffer_->mark_user(at, buffer_->bytes.size());
  }
}

Text TextBuilder::finish() {
  Text text;
  text.end_ = buffer_->bytes.size();
  meter_->bytes(text.end_);  // what was appended by code points is charged here
  buffer_->growable = true;
  text.buffer_ = std::exchange(buffer_, std::make_shared<Text::Buffer>());
  return text;
}

char32_t TextReader::next() {
  while (span_ < user_.size() && user_[span_].end <= at_) {
    ++span_;
  }
  origin_ = span_ < user_.size() && user_[span_].begin <= at_ ? Origin::kUser : Origin::kTemplate;
  const CodePoint c = code_point_at(bytes_, at_);
  at_ += c.bytes;
  return c.value;
}

}  // namespace unmask::runtime::chat
