// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/chat/lexer.h"

namespace unmask::runtime::chat {

inline constexpr std::size_t kNone = std::string_view::npos;

/// First place from `at` on that is not white space, or the end.
std::size_t skip_space(std::string_view text, std::size_t at);

/// Walks once over a template. Text between tags is in lexer.cpp, what stands in a tag in lexer_tags.cpp.
class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}
  std::vector<Token> run();

 private:
  enum class Opened { kVariable, kOther };   ///< {{ leaves the blanks before it alone
  enum class Closing { kPlain, kTrims };     ///< kTrims: drops a line feed behind it, unless a plus stands before it
  bool starts(std::size_t at, std::string_view text) const { return source_.compare(at, text.size(), text) == 0; }
  void move_to(std::size_t end);
  void push(TokenKind kind, std::string text = {}, Value number = {});
  /// The text before a tag (or at the end), which the tag's sign and its kind trim.
  void data(std::string_view text, char sign, Opened by);
  void root();
  bool raw(std::size_t tag, std::string_view text);
  void comment();
  void tag(TokenKind end);
  bool tag_end(TokenKind end);
  void tag_token();
  void symbol();
  /// The end of a `word` tag (raw, endraw) that begins at `at`, or kNone; its sign and how far its whitespace control reaches.
  std::size_t word_tag(std::size_t at, std::string_view word, Closing closing, char& sign) const;
  std::size_t after_close(std::size_t at, std::string_view close, Closing closing) const;

  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::string brackets_;
  std::vector<Token> tokens_;
};

}  // namespace unmask::runtime::chat
