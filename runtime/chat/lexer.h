// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/value.h"

namespace unmask::runtime::chat {

enum class TokenKind {
  kData,            ///< text between tags, whitespace control already applied
  kBlockBegin,      ///< {%
  kBlockEnd,
  kVariableBegin,   ///< {{
  kVariableEnd,
  kName,
  kString,          ///< text: escapes resolved
  kNumber,          ///< number
  kSymbol,          ///< an operator or bracket
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;
  Value number;
};

/// What is wrong in a template's source, and in which line.
class SyntaxError : public TemplateError {
 public:
  SyntaxError(int line, const std::string& message) : TemplateError(message), line_(line) {}
  int line() const { return line_; }

 private:
  int line_;
};

/// Cuts a template (valid UTF-8) into tokens as jinja2's lexer does with trim_blocks and lstrip_blocks on; comments are
/// dropped. The last token is kEnd. Throws SyntaxError.
std::vector<Token> tokenize(std::string_view source);

/// The value of a string literal between its quotes: Python's escapes. Throws SyntaxError.
std::string unescape(std::string_view literal, int line);

struct NumberLiteral {
  Value value;
  std::size_t length = 0;
};
enum class Numbers { kAll, kIntegers };  ///< behind a '.' there can be no float
/// The number that `text`, which begins with a digit, begins with. Throws SyntaxError.
NumberLiteral read_number(std::string_view text, Numbers kinds, int line);
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace unmask::runtime::chat
