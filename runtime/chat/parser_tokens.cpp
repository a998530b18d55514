// SPDX-License-Identifier: Apache-2.0
// How the parser takes tokens, and what it says of one that it did not expect.
#include "runtime/chat/parser.h"

namespace unmask::runtime::chat {

Token Parser::take() {
  Token token = current();
  if (at_ + 1 < tokens_.size()) {
    ++at_;
  }
  return token;
}

bool Parser::take_name(std::string_view name) {
  if (!is_name(name)) {
    return false;
  }
  take();
  return true;
}

bool Parser::take_symbol(std::string_view symbol) {
  if (!is_symbol(symbol)) {
    return false;
  }
  take();
  return true;
}

void Parser::expect_symbol(std::string_view symbol) {
  if (!take_symbol(symbol)) {
    unexpected("'" + std::string(symbol) + "'");
  }
}

std::string Parser::expect_name() {
  if (current().kind != TokenKind::kName) {
    unexpected("a name");
  }
  return take().text;
}

void Parser::expect_block_end() {
  if (current().kind != TokenKind::kBlockEnd) {
    unexpected("%}");
  }
  take();
}

void Parser::unexpected(std::string_view wanted) const {
  std::string found = "'" + current().text + "'";
  switch (current().kind) {
    case TokenKind::kEnd: found = "the end of the template"; break;
    case TokenKind::kBlockEnd: found = "%}"; break;
    case TokenKind::kVariableEnd: found = "}}"; break;
    case TokenKind::kBlockBegin: found = "{%"; break;
    case TokenKind::kVariableBegin: found = "{{"; break;
    case TokenKind::kData: found = "text"; break;
    case TokenKind::kName:
    case TokenKind::kString:
    case TokenKind::kNumber:
    case TokenKind::kSymbol: break;
  }
  throw SyntaxError(current().line, "expected " + std::string(wanted) + ", found " + found);
}

}  // namespace unmask::runtime::chat
