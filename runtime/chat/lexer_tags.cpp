// SPDX-License-Identifier: Apache-2.0
// What stands between the brackets of a tag.
#include <algorithm>
#include <array>

#include "runtime/chat/lexer_impl.h"
#include "runtime/chat/unicode.h"

namespace unmask::runtime::chat {
namespace {

bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

}  // namespace

bool Lexer::tag_end(TokenKind end) {
  if (!brackets_.empty()) {
    return false;
  }
  const bool block = end == TokenKind::kBlockEnd;
  const std::size_t behind = after_close(at_, block ? "%}" : "}}", block ? Closing::kTrims : Closing::kPlain);
  if (behind == kNone) {
    return false;
  }
  push(end);
  move_to(behind);
  return true;
}

void Lexer::tag(TokenKind end) {
  while (at_ < source_.size() && !tag_end(end)) {
    const std::size_t behind_space = skip_space(source_, at_);
    if (behind_space > at_) {
      move_to(behind_space);
    } else {
      tag_token();
    }
  }
}

void Lexer::tag_token() {
  const char c = source_[at_];
  if (is_digit(c)) {
    const Numbers kinds = at_ > 0 && source_[at_ - 1] == '.' ? Numbers::kIntegers : Numbers::kAll;
    const NumberLiteral number = read_number(std::string_view(source_).substr(at_), kinds, line_);
    push(TokenKind::kNumber, source_.substr(at_, number.length), number.value);
    move_to(at_ + number.length);
  } else if (is_name_start(c)) {
    std::size_t end = at_ + 1;
    while (end < source_.size() && (is_name_start(source_[end]) || is_digit(source_[end]))) {
      ++end;
    }
    push(TokenKind::kName, source_.substr(at_, end - at_));
    move_to(end);
  } else if (c == '\'' || c == '"') {
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != c) {
      end += source_[end] == '\\' ? 2U : 1U;
    }
    if (end >= source_.size()) {
      throw SyntaxError(line_, "a string is not closed");
    }
    push(TokenKind::kString, unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1), line_));
    move_to(end + 1);
  } else {
    symbol();
  }
}

void Lexer::symbol() {
  static constexpr std::array<std::string_view, 6> kTwo = {"**", "//", "==", "!=", ">=", "<="};
  static constexpr std::string_view kOne = "+-/*%~[](){}><=.:|,;";
  const char c = source_[at_];
  const bool two = std::any_of(kTwo.begin(), kTwo.end(), [&](std::string_view s) { return starts(at_, s); });
  if (!two && kOne.find(c) == kNone) {
    const CodePoint point = code_point_at(source_, at_);
    throw SyntaxError(line_, "the character '" + source_.substr(at_, point.bytes) + "' is not expected here");
  }
  if (c == '{' || c == '(' || c == '[') {
    brackets_.push_back(c == '{' ? '}' : c == '(' ? ')' : ']');
  } else if (c == '}' || c == ')' || c == ']') {
    if (brackets_.empty() || brackets_.back() != c) {
      throw SyntaxError(line_, std::string("a '") + c + "' closes nothing that is open");
    }
    brackets_.pop_back();
  }
  const std::size_t length = two ? 2 : 1;
  push(TokenKind::kSymbol, source_.substr(at_, length));
  move_to(at_ + length);
}

}  // namespace unmask::runtime::chat
