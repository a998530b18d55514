// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/ast.h"
#include "runtime/chat/lexer.h"

namespace unmask::runtime::chat {

/// Parses a template (valid UTF-8). Throws SyntaxError naming the construct that is wrong or not supported.
Body parse_template(std::string_view source);

/// Recursive descent over the tokens, jinja2's grammar. Expressions are in parser_expressions.cpp.
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  Body parse();  ///< once

 private:
  enum class Conditional { kAllowed, kLeftOut };  ///< whether `a if b` may stand there without parentheses
  class Nested;                                   ///< counts the depth of the recursion

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool is_name(std::string_view name) const { return current().kind == TokenKind::kName && current().text == name; }
  bool is_symbol(std::string_view symbol) const { return current().kind == TokenKind::kSymbol && current().text == symbol; }
  bool take_name(std::string_view name);
  bool take_symbol(std::string_view symbol);
  void expect_symbol(std::string_view symbol);
  std::string expect_name();
  void expect_block_end();
  [[noreturn]] void unexpected(std::string_view wanted) const;

  Body parse_body(std::initializer_list<std::string_view> ends);
  bool parse_statement(Body& body, std::initializer_list<std::string_view> ends);
  Stmt parse_output();
  Stmt parse_if();
  Stmt parse_for();
  Stmt parse_set();
  Stmt parse_scope(std::string_view end);
  Target parse_target();
  Target parse_single_target();

  ExprPtr parse_tuple(Conditional conditional, std::string_view end);
  ExprPtr parse_expression(Conditional conditional = Conditional::kAllowed);
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  enum class Filters { kAllowed, kLeftOut };
  ExprPtr parse_unary(Filters filters);
  ExprPtr parse_primary();
  ExprPtr parse_literal();
  ExprPtr parse_parentheses();
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_postfix(ExprPtr object);
  ExprPtr parse_subscript(ExprPtr object);
  ExprPtr parse_filters(ExprPtr input);
  ExprPtr parse_filter(ExprPtr input);
  ExprPtr parse_test(ExprPtr input);
  void parse_arguments(Expr& call);

  ExprPtr make(ExprKind kind, int line, std::vector<ExprPtr> children = {}) const;
  static void note_depth(Expr& parent, const Expr* child);
  ExprPtr finished(ExprPtr expr) const;  ///< refuses a tree that is too deep

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
  int num_loops_ = 0;
  int num_markup_ = 0;  ///< filters safe and escape parsed in this statement and not yet seen to be its outermost
};

/// What the evaluator knows by name; others are refused when the template is parsed.
bool is_known_filter(std::string_view name);
bool is_known_test(std::string_view name);

}  // namespace unmask::runtime::chat
