// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/lexer.h"

#include <algorithm>
#include <array>

#include "runtime/chat/unicode.h"

namespace unmask::runtime::chat {
namespace {

constexpr std::size_t kNone = std::string_view::npos;

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

bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}
  std::vector<Token> run();

 private:
  bool starts(std::size_t at, std::string_view text) const { return source_.compare(at, text.size(), text) == 0; }
  void move_to(std::size_t end);
  void push(TokenKind kind, std::string text = {}, Value number = {});
  void data(std::string_view text, char sign, bool is_variable);
  void root();
  bool raw(std::size_t tag, std::string_view text);
  void comment();
  void tag(TokenKind end);
  bool tag_end(TokenKind end);
  void tag_token();
  void symbol();
  /// The end of a `word` tag (raw, endraw) that begins at `at`, or kNone; its sign and how far its whitespace control reaches.
  std::size_t word_tag(std::size_t at, std::string_view word, bool trim_newline, char& sign) const;
  std::size_t after_close(std::size_t at, std::string_view close, bool allow_plus, bool trim_newline) const;

  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::string brackets_;
  std::vector<Token> tokens_;
};

void Lexer::move_to(std::size_t end) {
  line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                       source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
  line_starting_ = end > at_ ? source_[end - 1] == '\n' : line_starting_;
  at_ = end;
}

void Lexer::push(TokenKind kind, std::string text, Value number) {
  tokens_.push_back({kind, line_, std::move(text), std::move(number)});
}

void Lexer::data(std::string_view text, char sign, bool is_variable) {
  if (sign == '-') {
    text = rstrip(text);
  } else if (sign != '+' && !is_variable) {
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
std::size_t Lexer::after_close(std::size_t at, std::string_view close, bool allow_plus, bool trim_newline) const {
  if (starts(at, "-") && starts(at + 1, close)) {
    return skip_space(source_, at + 1 + close.size());
  }
  if (allow_plus && starts(at, "+") && starts(at + 1, close)) {
    return at + 1 + close.size();
  }
  if (!starts(at, close)) {
    return kNone;
  }
  const std::size_t end = at + close.size();
  return trim_newline && starts(end, "\n") ? end + 1 : end;
}

std::size_t Lexer::word_tag(std::size_t at, std::string_view word, bool trim_newline, char& sign) const {
  std::size_t next = at + 2;
  sign = next < source_.size() && (source_[next] == '-' || source_[next] == '+') ? source_[next] : '\0';
  next = skip_space(source_, sign == '\0' ? next : next + 1);
  if (!starts(next, word)) {
    return kNone;
  }
  return after_close(skip_space(source_, next + word.size()), "%}", trim_newline, trim_newline);
}

bool Lexer::raw(std::size_t tag, std::string_view text) {
  char sign = '\0';
  const std::size_t begin = word_tag(tag, "raw", false, sign);
  if (begin == kNone) {
    return false;
  }
  data(text, sign, false);
  move_to(begin);
  for (std::size_t end = source_.find("{%", at_); end != kNone; end = source_.find("{%", end + 1)) {
    const std::size_t behind = word_tag(end, "endraw", true, sign);
    if (behind != kNone) {
      data(std::string_view(source_).substr(at_, end - at_), sign, false);
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
    data(text, '+', false);
    move_to(source_.size());
    return;
  }
  const char opened = source_[tag_at + 1];
  if (opened == '%' && raw(tag_at, text)) {
    return;
  }
  std::size_t begin = tag_at + 2;
  const char sign = begin < source_.size() && (source_[begin] == '-' || source_[begin] == '+') ? source_[begin] : '\0';
  data(text, sign, opened == '{');
  move_to(sign == '\0' ? begin : begin + 1);
  if (opened == '#') {
    comment();
  } else {
    push(opened == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin);
    tag(opened == '%' ? TokenKind::kBlockEnd : TokenKind::kVariableEnd);
  }
}

bool Lexer::tag_end(TokenKind end) {
  if (!brackets_.empty()) {
    return false;
  }
  const bool block = end == TokenKind::kBlockEnd;
  const std::size_t behind = after_close(at_, block ? "%}" : "}}", block, block);
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
    const NumberLiteral number = read_number(std::string_view(source_).substr(at_), at_ > 0 && source_[at_ - 1] == '.', line_);
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

std::vector<Token> Lexer::run() {
  while (at_ < source_.size()) {
    root();
  }
  push(TokenKind::kEnd);
  return std::move(tokens_);
}

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(normalize_newlines(source)).run(); }

}  // namespace unmask::runtime::chat
