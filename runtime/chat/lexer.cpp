// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/lexer.h"

#include <algorithm>

#include "runtime/chat/lexer_impl.h"
#include "runtime/chat/unicode.h"

namespace unmask::runtime::chat {
namespace {

/// Line ends become \n, and one at the very end is dropped.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out.push_back('\n');
      i += i + 1 < source.size() && source[i + 1] == '\n' ? 1U : 0U;
    } else {
      out.push_back(source[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') {
    out.pop_back();
  }
  return out;
}

std::string_view rstrip(std::string_view text) {
  while (!text.empty()) {
    const CodePoint c = code_point_before(text, text.size());
    if (!is_space(c.value)) {
      break;
    }
    text.remove_suffix(c.bytes);
  }
  return text;
}

}  // namespace

std::size_t skip_space(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const CodePoint c = code_point_at(text, at);
    if (!is_space(c.value)) {
      break;
    }
    at += c.bytes;
  }
  return at;
}

void Lexer::move_to(std::size_t end) {
  line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                       source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
  line_starting_ = end > at_ ? source_[end - 1] == '\n' : line_starting_;
  at_ = end;
}

void Lexer::push(TokenKind kind, std::string text, Value number) {
  tokens_.push_back({kind, line_, std::move(text), std::move(number)});
}

void Lexer::data(std::string_view text, char sign, Opened by) {
  if (sign == '-') {
    text = rstrip(text);
  } else if (sign != '+' && by != Opened::kVariable) {
    const std::size_t newline = text.rfind('\n');
    const std::size_t line = newline == kNone ? 0 : newline + 1;
    if ((line > 0 || line_starting_) && skip_space(text, line) == text.size()) {
      text = text.substr(0, line);
    }
  }
  if (!text.empty()) {
    push(TokenKind::kData, std::string(text));
  }
}

/// Behind `close` (%} or }}) at `at`, which may have a sign before it; kNone if it is not there.
std::size_t Lexer::after_close(std::size_t at, std::string_view close, Closing closing) const {
  if (starts(at, "-") && starts(at + 1, close)) {
    return skip_space(source_, at + 1 + close.size());
  }
  if (closing == Closing::kTrims && starts(at, "+") && starts(at + 1, close)) {
    return at + 1 + close.size();
  }
  if (!starts(at, close)) {
    return kNone;
  }
  const std::size_t end = at + close.size();
  return closing == Closing::kTrims && starts(end, "\n") ? end + 1 : end;
}

std::size_t Lexer::word_tag(std::size_t at, std::string_view word, Closing closing, char& sign) const {
  std::size_t next = at + 2;
  sign = next < source_.size() && (source_[next] == '-' || source_[next] == '+') ? source_[next] : '\0';
  next = skip_space(source_, sign == '\0' ? next : next + 1);
  if (!starts(next, word)) {
    return kNone;
  }
  return after_close(skip_space(source_, next + word.size()), "%}", closing);
}

bool Lexer::raw(std::size_t tag, std::string_view text) {
  char sign = '\0';
  const std::size_t begin = word_tag(tag, "raw", Closing::kPlain, sign);
  if (begin == kNone) {
    return false;
  }
  data(text, sign, Opened::kOther);
  move_to(begin);
  for (std::size_t end = source_.find("{%", at_); end != kNone; end = source_.find("{%", end + 1)) {
    const std::size_t behind = word_tag(end, "endraw", Closing::kTrims, sign);
    if (behind != kNone) {
      data(std::string_view(source_).substr(at_, end - at_), sign, Opened::kOther);
      move_to(behind);
      return true;
    }
  }
  throw SyntaxError(line_, "a raw block is not closed: {% endraw %} expected");
}

void Lexer::comment() {
  const std::size_t end = source_.find("#}", at_);
  if (end == kNone) {
    throw SyntaxError(line_, "a comment is not closed: #} expected");
  }
  const char sign = end > at_ ? source_[end - 1] : '\0';
  std::size_t behind = end + 2;
  if (sign == '-') {
    behind = skip_space(source_, behind);
  } else if (sign != '+' && starts(behind, "\n")) {
    ++behind;
  }
  move_to(behind);
}

void Lexer::root() {
  std::size_t tag_at = source_.find('{', at_);
  while (tag_at != kNone && !(starts(tag_at, "{%") || starts(tag_at, "{{") || starts(tag_at, "{#"))) {
    tag_at = source_.find('{', tag_at + 1);
  }
  const std::string_view text = std::string_view(source_).substr(at_, tag_at == kNone ? kNone : tag_at - at_);
  if (tag_at == kNone) {
    data(text, '+', Opened::kOther);
    move_to(source_.size());
    return;
  }
  const char opened = source_[tag_at + 1];
  if (opened == '%' && raw(tag_at, text)) {
    return;
  }
  std::size_t begin = tag_at + 2;
  const char sign = begin < source_.size() && (source_[begin] == '-' || source_[begin] == '+') ? source_[begin] : '\0';
  data(text, sign, opened == '{' ? Opened::kVariable : Opened::kOther);
  move_to(sign == '\0' ? begin : begin + 1);
  if (opened == '#') {
    comment();
  } else {
    push(opened == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin);
    tag(opened == '%' ? TokenKind::kBlockEnd : TokenKind::kVariableEnd);
  }
}

std::vector<Token> Lexer::run() {
  while (at_ < source_.size()) {
    root();
  }
  push(TokenKind::kEnd);
  return std::move(tokens_);
}

std::vector<Token> tokenize(std::string_view source) { return Lexer(normalize_newlines(source)).run(); }

}  // namespace unmask::runtime::chat
