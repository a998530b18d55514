// SPDX-License-Identifier: Apache-2.0
// Expressions up to unary operators, weakest binding first.
#include <array>
#include <utility>

#include "runtime/chat/parser_nesting.h"

namespace unmask::runtime::chat {
namespace {

struct SymbolOperator {
  std::string_view symbol;
  Operator op;
};
constexpr std::array<SymbolOperator, 6> kComparisons = {{{"==", Operator::kEq},
                                                         {"!=", Operator::kNe},
                                                         {"<", Operator::kLt},
                                                         {"<=", Operator::kLe},
                                                         {">", Operator::kGt},
                                                         {">=", Operator::kGe}}};
constexpr std::array<SymbolOperator, 2> kSums = {{{"+", Operator::kAdd}, {"-", Operator::kSub}}};
constexpr std::array<SymbolOperator, 4> kProducts = {
    {{"*", Operator::kMul}, {"/", Operator::kDiv}, {"//", Operator::kFloorDiv}, {"%", Operator::kMod}}};

template <std::size_t N>
const SymbolOperator* find(const std::array<SymbolOperator, N>& operators, const Token& token) {
  if (token.kind == TokenKind::kSymbol) {
    for (const SymbolOperator& entry : operators) {
      if (entry.symbol == token.text) {
        return &entry;
      }
    }
  }
  return nullptr;
}

}  // namespace

ExprPtr Parser::make(ExprKind kind, int line, std::vector<ExprPtr> children) const {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = line;
  expr->children = std::move(children);
  return finished(std::move(expr));
}

void Parser::note_depth(Expr& parent, const Expr* child) {
  if (child != nullptr) {
    parent.depth = std::max(parent.depth, child->depth + 1);
  }
}

ExprPtr Parser::finished(ExprPtr expr) const {
  for (const ExprPtr& child : expr->children) {
    note_depth(*expr, child.get());
  }
  for (const Keyword& keyword : expr->keywords) {
    note_depth(*expr, keyword.value.get());
  }
  if (expr->depth > kMaxTreeDepth) {
    throw SyntaxError(expr->line, "an expression is deeper than " + std::to_string(kMaxTreeDepth));
  }
  return expr;
}

namespace {

std::vector<ExprPtr> list_of(ExprPtr a, ExprPtr b) {
  std::vector<ExprPtr> list;
  list.push_back(std::move(a));
  list.push_back(std::move(b));
  return list;
}

std::vector<ExprPtr> list_of(ExprPtr a) {
  std::vector<ExprPtr> list;
  list.push_back(std::move(a));
  return list;
}

}  // namespace

/// One expression, or a tuple of those that commas separate, up to a name `end` or a closing bracket.
ExprPtr Parser::parse_tuple(Conditional conditional, std::string_view end) {
  const int line = current().line;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  for (;;) {
    const TokenKind kind = current().kind;
    if (kind == TokenKind::kVariableEnd || kind == TokenKind::kBlockEnd || is_symbol(")") || (!end.empty() && is_name(end))) {
      break;
    }
    items.push_back(parse_expression(conditional));
    if (!take_symbol(",")) {
      break;
    }
    is_tuple = true;
  }
  if (is_tuple) {
    return make(ExprKind::kTuple, line, std::move(items));
  }
  if (items.empty()) {
    unexpected("an expression");
  }
  return std::move(items.front());
}

ExprPtr Parser::parse_expression(Conditional conditional) {
  const Nested nested(depth_, current().line);
  ExprPtr expr = parse_or();
  while (conditional == Conditional::kAllowed && is_name("if")) {
    const int line = take().line;
    std::vector<ExprPtr> parts;
    parts.push_back(parse_or());
    parts.push_back(std::move(expr));
    parts.push_back(take_name("else") ? parse_expression() : nullptr);
    expr = make(ExprKind::kCondition, line, std::move(parts));
  }
  return expr;
}

ExprPtr Parser::parse_or() {
  ExprPtr left = parse_and();
  while (is_name("or")) {
    const int line = take().line;
    left = make(ExprKind::kOr, line, list_of(std::move(left), parse_and()));
  }
  return left;
}

ExprPtr Parser::parse_and() {
  ExprPtr left = parse_not();
  while (is_name("and")) {
    const int line = take().line;
    left = make(ExprKind::kAnd, line, list_of(std::move(left), parse_not()));
  }
  return left;
}

ExprPtr Parser::parse_not() {
  if (!is_name("not")) {
    return parse_compare();
  }
  const Nested nested(depth_, current().line);
  const int line = take().line;
  return make(ExprKind::kNot, line, list_of(parse_not()));
}

ExprPtr Parser::parse_compare() {
  const int line = current().line;
  std::vector<ExprPtr> operands = list_of(parse_sum());
  std::vector<Operator> operators;
  for (;;) {
    if (const SymbolOperator* entry = find(kComparisons, current())) {
      take();
      operators.push_back(entry->op);
    } else if (take_name("in")) {
      operators.push_back(Operator::kIn);
    } else if (is_name("not") && ahead().kind == TokenKind::kName && ahead().text == "in") {
      take();
      take();
      operators.push_back(Operator::kNotIn);
    } else {
      break;
    }
    operands.push_back(parse_sum());
  }
  if (operators.empty()) {
    return std::move(operands.front());
  }
  ExprPtr compare = make(ExprKind::kCompare, line, std::move(operands));
  compare->operators = std::move(operators);
  return compare;
}

ExprPtr Parser::parse_sum() {
  ExprPtr left = parse_concat();
  while (const SymbolOperator* entry = find(kSums, current())) {
    const int line = take().line;
    left = make(ExprKind::kArithmetic, line, list_of(std::move(left), parse_concat()));
    left->operators = {entry->op};
  }
  return left;
}

ExprPtr Parser::parse_concat() {
  const int line = current().line;
  std::vector<ExprPtr> parts = list_of(parse_product());
  while (take_symbol("~")) {
    parts.push_back(parse_product());
  }
  return parts.size() == 1 ? std::move(parts.front()) : make(ExprKind::kConcat, line, std::move(parts));
}

ExprPtr Parser::parse_product() {
  ExprPtr left = parse_power();
  while (const SymbolOperator* entry = find(kProducts, current())) {
    const int line = take().line;
    left = make(ExprKind::kArithmetic, line, list_of(std::move(left), parse_power()));
    left->operators = {entry->op};
  }
  return left;
}

ExprPtr Parser::parse_power() {
  ExprPtr left = parse_unary(Filters::kAllowed);
  while (is_symbol("**")) {
    const int line = take().line;
    left = make(ExprKind::kArithmetic, line, list_of(std::move(left), parse_unary(Filters::kAllowed)));
    left->operators = {Operator::kPow};
  }
  return left;
}

ExprPtr Parser::parse_unary(Filters filters) {
  ExprPtr expr;
  if (is_symbol("-") || is_symbol("+")) {
    const Nested nested(depth_, current().line);
    const Token sign = take();
    expr = make(sign.text == "-" ? ExprKind::kNegate : ExprKind::kPlus, sign.line, list_of(parse_unary(Filters::kLeftOut)));
  } else {
    expr = parse_primary();
  }
  expr = parse_postfix(std::move(expr));
  return filters == Filters::kAllowed ? parse_filters(std::move(expr)) : std::move(expr);
}

}  // namespace unmask::runtime::chat
