// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/chat/parser.h"

namespace unmask::runtime::chat {

/// One level of the parser's recursion, as long as it lives.
class Parser::Nested {
 public:
  Nested(int& depth, int line) : depth_(depth) {
    if (depth_ >= kMaxDepth) {
      throw SyntaxError(line, "the template is nested deeper than " + std::to_string(kMaxDepth));
    }
    ++depth_;
  }
  ~Nested() { --depth_; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  int& depth_;
};

}  // namespace unmask::runtime::chat
