// SPDX-License-Identifier: Apache-2.0
// Expressions that bind strongest: literals, names, brackets, calls, subscripts, filters and tests.
#include <utility>

#include "runtime/chat/parser_nesting.h"

namespace unmask::runtime::chat {

ExprPtr Parser::parse_primary() {
  if (is_symbol("(")) {
    return parse_parentheses();
  }
  if (is_symbol("[")) {
    return parse_list();
  }
  if (is_symbol("{")) {
    return parse_dict();
  }
  if (current().kind == TokenKind::kString || current().kind == TokenKind::kNumber) {
    return parse_literal();
  }
  if (current().kind != TokenKind::kName) {
    unexpected("an expression");
  }
  const Token token = take();
  ExprPtr expr = make(ExprKind::kConstant, token.line);
  if (token.text == "true" || token.text == "True") {
    expr->constant = true;
  } else if (token.text == "false" || token.text == "False") {
    expr->constant = false;
  } else if (token.text == "none" || token.text == "None") {
    expr->constant = None{};
  } else {
    expr->kind = ExprKind::kName;
    expr->name = token.text;
  }
  return expr;
}

ExprPtr Parser::parse_literal() {
  ExprPtr expr = make(ExprKind::kConstant, current().line);
  if (current().kind == TokenKind::kNumber) {
    expr->constant = take().number;
    return expr;
  }
  std::string text;
  while (current().kind == TokenKind::kString) {  // neighbours are one string, as in Python
    text += take().text;
  }
  expr->constant = Text(std::move(text), Origin::kTemplate);
  return expr;
}

ExprPtr Parser::parse_parentheses() {
  const int line = take().line;
  if (take_symbol(")")) {
    return make(ExprKind::kTuple, line);
  }
  ExprPtr expr = parse_tuple(Conditional::kAllowed, {});
  expect_symbol(")");
  return expr;
}

ExprPtr Parser::parse_list() {
  const int line = take().line;
  std::vector<ExprPtr> items;
  while (!is_symbol("]")) {
    items.push_back(parse_expression());
    if (!is_symbol("]")) {
      expect_symbol(",");
    }
  }
  take();
  return make(ExprKind::kList, line, std::move(items));
}

ExprPtr Parser::parse_dict() {
  const int line = take().line;
  std::vector<ExprPtr> items;
  while (!is_symbol("}")) {
    items.push_back(parse_expression());
    expect_symbol(":");
    items.push_back(parse_expression());
    if (!is_symbol("}")) {
      expect_symbol(",");
    }
  }
  take();
  return make(ExprKind::kDict, line, std::move(items));
}

ExprPtr Parser::parse_postfix(ExprPtr object) {
  for (;;) {
    if (is_symbol(".") || is_symbol("[")) {
      object = parse_subscript(std::move(object));
    } else if (is_symbol("(")) {
      ExprPtr call = make(ExprKind::kCall, current().line);
      call->children.push_back(std::move(object));
      parse_arguments(*call);
      object = finished(std::move(call));
    } else {
      return object;
    }
  }
}

ExprPtr Parser::parse_subscript(ExprPtr object) {
  const Token bracket = take();
  std::vector<ExprPtr> children;
  children.push_back(std::move(object));
  if (bracket.text == ".") {
    if (current().kind == TokenKind::kNumber && current().number.is(Kind::kInt)) {
      children.push_back(parse_literal());
      return make(ExprKind::kSubscript, bracket.line, std::move(children));
    }
    std::string name = expect_name();
    ExprPtr attribute = make(ExprKind::kAttribute, bracket.line, std::move(children));
    attribute->name = std::move(name);
    return attribute;
  }
  int num_colons = 0;
  ExprPtr parts[3];
  for (;;) {
    if (take_symbol(":")) {
      if (++num_colons > 2) {
        unexpected("']'");
      }
    } else if (!is_symbol("]") && !parts[num_colons]) {
      parts[num_colons] = parse_expression();
    } else {
      break;
    }
  }
  if (is_symbol(",")) {
    throw SyntaxError(current().line, "several indices in one pair of brackets are not supported");
  }
  expect_symbol("]");
  if (num_colons == 0 && !parts[0]) {
    throw SyntaxError(bracket.line, "an index is missing between the brackets");
  }
  for (int i = 0; i < (num_colons == 0 ? 1 : 3); ++i) {
    children.push_back(std::move(parts[i]));
  }
  return make(num_colons == 0 ? ExprKind::kSubscript : ExprKind::kSlice, bracket.line, std::move(children));
}

void Parser::parse_arguments(Expr& call) {
  constexpr std::size_t kMaxKeywords = 255;  // each is compared with those before it
  expect_symbol("(");
  while (!is_symbol(")")) {
    if (is_symbol("*") || is_symbol("**")) {
      throw SyntaxError(current().line, "unpacking arguments with * or ** is not supported");
    }
    if (current().kind == TokenKind::kName && ahead().kind == TokenKind::kSymbol && ahead().text == "=") {
      Keyword keyword{.name = take().text, .value = nullptr};
      take();
      keyword.value = parse_expression();
      if (call.keywords.size() == kMaxKeywords) {
        throw SyntaxError(call.line, "more than " + std::to_string(kMaxKeywords) + " arguments with names are not supported");
      }
      for (const Keyword& other : call.keywords) {
        if (other.name == keyword.name) {
          throw SyntaxError(call.line, "the argument " + keyword.name + " is given twice");
        }
      }
      call.keywords.push_back(std::move(keyword));
    } else if (!call.keywords.empty()) {
      throw SyntaxError(current().line, "an argument without a name follows one with a name");
    } else {
      call.children.push_back(parse_expression());
    }
    if (!is_symbol(")")) {
      expect_symbol(",");
    }
  }
  take();
}

ExprPtr Parser::parse_filters(ExprPtr input) {
  for (;;) {
    if (is_symbol("|")) {
      input = parse_filter(std::move(input));
    } else if (is_name("is")) {
      input = parse_test(std::move(input));
    } else if (is_symbol("(")) {
      ExprPtr call = make(ExprKind::kCall, current().line);
      call->children.push_back(std::move(input));
      parse_arguments(*call);
      input = finished(std::move(call));
    } else {
      return input;
    }
  }
}

ExprPtr Parser::parse_filter(ExprPtr input) {
  expect_symbol("|");
  ExprPtr filter = make(ExprKind::kFilter, current().line);
  filter->name = expect_name();
  if (is_symbol(".") || !is_known_filter(filter->name)) {
    throw SyntaxError(filter->line, "the filter '" + filter->name + "' is not supported");
  }
  num_markup_ += filter->name == "safe" || filter->name == "e" || filter->name == "escape" ? 1 : 0;
  filter->children.push_back(std::move(input));
  if (is_symbol("(")) {
    parse_arguments(*filter);
  }
  return finished(std::move(filter));
}

ExprPtr Parser::parse_test(ExprPtr input) {
  const int line = take().line;
  const bool negated = take_name("not");
  ExprPtr test = make(ExprKind::kTest, line);
  test->name = expect_name();
  if (is_symbol(".") || !is_known_test(test->name)) {
    throw SyntaxError(line, "the test '" + test->name + "' is not supported");
  }
  test->children.push_back(std::move(input));
  const TokenKind kind = current().kind;
  const bool is_argument = (kind == TokenKind::kName && !is_name("else") && !is_name("or") && !is_name("and")) ||
                           kind == TokenKind::kString || kind == TokenKind::kNumber || is_symbol("[") || is_symbol("{");
  if (is_symbol("(")) {
    parse_arguments(*test);
  } else if (is_argument) {
    if (is_name("is")) {
      throw SyntaxError(line, "tests cannot be chained with 'is'");
    }
    test->children.push_back(parse_postfix(parse_primary()));
  }
  test = finished(std::move(test));
  if (!negated) {
    return test;
  }
  std::vector<ExprPtr> operand;
  operand.push_back(std::move(test));
  return make(ExprKind::kNot, line, std::move(operand));
}

}  // namespace unmask::runtime::chat
