// SPDX-License-Identifier: Apache-2.0
// Statements: {% ... %}, {{ ... }} and the text between them.
#include "runtime/chat/parser.h"

#include <utility>

#include "runtime/chat/parser_nesting.h"

namespace unmask::runtime::chat {
namespace {

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Stmt statement(StmtKind kind, int line) {
  Stmt stmt;
  stmt.kind = kind;
  stmt.line = line;
  return stmt;
}

}  // namespace

Body Parser::parse() {
  Body body = parse_body({});
  if (current().kind != TokenKind::kEnd) {
    unexpected("the end of the template");
  }
  return body;
}

/// Up to a tag named in `ends`, whose {% and name are taken; the name is left in the token before the current one.
Body Parser::parse_body(std::initializer_list<std::string_view> ends) {
  const Nested nested(depth_, current().line);
  Body body;
  for (;;) {
    const TokenKind kind = current().kind;
    if (kind == TokenKind::kData) {
      Stmt text = statement(StmtKind::kText, current().line);
      text.text = Text(take().text, Origin::kTemplate);
      body.push_back(std::move(text));
    } else if (kind == TokenKind::kVariableBegin) {
      body.push_back(parse_output());
    } else if (kind == TokenKind::kBlockBegin) {
      if (!parse_statement(body, ends)) {
        return body;
      }
    } else if (ends.size() > 0) {
      unexpected("{% " + std::string(*(ends.end() - 1)) + " %}");
    } else {
      return body;
    }
  }
}

bool Parser::parse_statement(Body& body, std::initializer_list<std::string_view> ends) {
  take();
  const int line = current().line;
  if (current().kind != TokenKind::kName) {
    unexpected("the name of a tag");
  }
  const std::string name = current().text;
  if (is_one_of(name, ends)) {
    take();
    return false;
  }
  if (name == "for") {
    body.push_back(parse_for());
  } else if (name == "if") {
    body.push_back(parse_if());
  } else if (name == "set") {
    body.push_back(parse_set());
  } else if (name == "generation") {  // transformers marks the assistant's tokens with it; the text is unchanged
    body.push_back(parse_scope("endgeneration"));
  } else if (name == "break" || name == "continue") {
    if (num_loops_ == 0) {
      throw SyntaxError(line, "{% " + name + " %} outside of a loop");
    }
    take();
    body.push_back(statement(name == "break" ? StmtKind::kBreak : StmtKind::kContinue, line));
  } else {
    throw SyntaxError(line, "the tag {% " + name + " %} is not supported (or not expected here)");
  }
  expect_block_end();
  if (num_markup_ != 0) {
    throw SyntaxError(line, "the filters safe and escape are supported only as the last filter of {{ ... }}");
  }
  return true;
}

Stmt Parser::parse_output() {
  Stmt output = statement(StmtKind::kOutput, current().line);
  take();
  output.expression = parse_tuple(Conditional::kAllowed, {});
  if (current().kind != TokenKind::kVariableEnd) {
    unexpected("}}");
  }
  take();
  const Expr& e = *output.expression;
  num_markup_ -= e.kind == ExprKind::kFilter && is_one_of(e.name, {"safe", "e", "escape"}) ? 1 : 0;
  if (num_markup_ != 0) {
    throw SyntaxError(output.line, "the filters safe and escape are supported only as the last filter of {{ ... }}");
  }
  return output;
}

Stmt Parser::parse_if() {
  Stmt choice = statement(StmtKind::kIf, take().line);
  for (bool more = true; more;) {
    Branch branch;
    branch.condition = parse_tuple(Conditional::kLeftOut, {});
    take_symbol(":");
    expect_block_end();
    branch.body = parse_body({"elif", "else", "endif"});
    choice.branches.push_back(std::move(branch));
    more = tokens_[at_ - 1].text == "elif";
  }
  if (tokens_[at_ - 1].text == "else") {
    take_symbol(":");
    expect_block_end();
    choice.branches.push_back({nullptr, parse_body({"endif"})});
  }
  return choice;
}

Stmt Parser::parse_for() {
  Stmt loop = statement(StmtKind::kFor, take().line);
  loop.target = parse_target();
  if (!take_name("in")) {
    unexpected("'in'");
  }
  loop.expression = parse_tuple(Conditional::kLeftOut, "recursive");
  if (take_name("if")) {
    loop.condition = parse_expression();
  }
  if (is_name("recursive")) {
    throw SyntaxError(current().line, "recursive loops are not supported");
  }
  take_symbol(":");
  expect_block_end();
  ++num_loops_;
  loop.body = parse_body({"else", "endfor"});
  --num_loops_;
  if (tokens_[at_ - 1].text == "else") {
    take_symbol(":");
    expect_block_end();
    loop.otherwise = parse_body({"endfor"});
  }
  return loop;
}

Stmt Parser::parse_set() {
  Stmt set = statement(StmtKind::kSet, take().line);
  set.target = parse_target();
  if (take_symbol("=")) {
    set.expression = parse_tuple(Conditional::kAllowed, {});
    return set;
  }
  set.kind = StmtKind::kSetBlock;
  while (is_symbol("|")) {
    set.expression = parse_filter(std::move(set.expression));
  }
  take_symbol(":");
  expect_block_end();
  set.body = parse_body({"endset"});
  return set;
}

Stmt Parser::parse_scope(std::string_view end) {
  Stmt scope = statement(StmtKind::kScope, take().line);
  expect_block_end();
  scope.body = parse_body({end});
  return scope;
}

Target Parser::parse_single_target() {
  const Nested nested(depth_, current().line);
  if (take_symbol("(")) {
    Target target = parse_target();
    expect_symbol(")");
    return target;
  }
  Target target;
  target.name = expect_name();
  if (is_one_of(target.name, {"true", "false", "none", "True", "False", "None", "loop"})) {
    throw SyntaxError(tokens_[at_ - 1].line, "'" + target.name + "' cannot be assigned to");
  }
  if (take_symbol(".")) {
    target.attribute = expect_name();
  }
  return target;
}

Target Parser::parse_target() {
  Target first = parse_single_target();
  if (!is_symbol(",")) {
    return first;
  }
  Target tuple;
  tuple.parts.push_back(std::move(first));
  while (take_symbol(",")) {
    if (is_name("in") || is_symbol(")") || current().kind == TokenKind::kBlockEnd) {
      break;
    }
    tuple.parts.push_back(parse_single_target());
  }
  return tuple;
}

Body parse_template(std::string_view source) { return Parser(tokenize(source)).parse(); }

}  // namespace unmask::runtime::chat
