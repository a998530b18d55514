// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/chat/arguments.h"
#include "runtime/chat/ast.h"

namespace unmask::runtime::chat {

/// Runs one template once.
class Evaluator {
 public:
  /// The names must outlive the evaluator.
  Evaluator(const std::vector<std::pair<std::string, Value>>& variables, const Limits& limits);

  /// The template's output. Throws TemplateError; line() then says where.
  Text run(const Body& body);
  int line() const { return line_; }

 private:
  enum class Flow { kNext, kBreak, kContinue };
  using Scope = std::unordered_map<std::string_view, Value>;

  Flow run_body(const Body& body);
  Flow run_statement(const Stmt& stmt);
  Flow run_if(const Stmt& stmt);
  Flow run_for(const Stmt& stmt);
  Flow run_set_block(const Stmt& stmt);
  Flow run_scope(const Body& body);
  std::shared_ptr<Loop> start_loop(const Stmt& stmt);
  bool passes(const Stmt& stmt, const Value& item, std::size_t num_outer_scopes);
  void assign(const Target& target, const Value& value);

  Value eval(const Expr& expr);
  bool eval_condition(const Expr& expr) { return is_true(eval(expr)); }
  Value look_up(const Expr& name) const;
  Value eval_items(const Expr& expr);
  Value eval_dict(const Expr& expr);
  Value eval_slice(const Expr& expr);
  Value eval_call(const Expr& expr);
  Value eval_filter(const Expr& expr);
  Value eval_concat(const Expr& expr);
  Value eval_compare(const Expr& expr);
  Value eval_branching(const Expr& expr);  ///< and, or, if
  Arguments eval_arguments(const Expr& expr);
  Value call_function(Function function, const Arguments& arguments);
  Value make_namespace(const Arguments& arguments);

  Meter meter_;
  std::vector<Scope> scopes_;
  std::vector<std::unique_ptr<Namespace>> namespaces_;
  TextBuilder out_;
  Value block_;  ///< what the filters of a set block are applied to
  int line_ = 1;
};

}  // namespace unmask::runtime::chat
