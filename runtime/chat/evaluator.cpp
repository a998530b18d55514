// SPDX-License-Identifier: Apache-2.0
// Statements.
#include "runtime/chat/evaluator.h"

#include <algorithm>
#include <iterator>

#include "runtime/chat/printing.h"

namespace unmask::runtime::chat {

Evaluator::Evaluator(const std::vector<std::pair<std::string, Value>>& variables, const Limits& limits)
    : meter_(limits), scopes_(1), out_(meter_) {
  for (const auto& [name, value] : variables) {
    scopes_.front()[name] = value;
  }
}

Text Evaluator::run(const Body& body) {
  scopes_.emplace_back();
  run_body(body);
  return out_.finish();
}

Evaluator::Flow Evaluator::run_body(const Body& body) {
  for (const Stmt& stmt : body) {
    const Flow flow = run_statement(stmt);
    if (flow != Flow::kNext) {
      return flow;
    }
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::run_statement(const Stmt& stmt) {
  meter_.step();
  line_ = stmt.line;
  switch (stmt.kind) {
    case StmtKind::kText: out_.append(stmt.text); return Flow::kNext;
    case StmtKind::kOutput: out_.append(to_text(eval(*stmt.expression), meter_)); return Flow::kNext;
    case StmtKind::kIf: return run_if(stmt);
    case StmtKind::kFor: return run_for(stmt);
    case StmtKind::kSet: assign(stmt.target, eval(*stmt.expression)); return Flow::kNext;
    case StmtKind::kSetBlock: return run_set_block(stmt);
    case StmtKind::kScope: return run_scope(stmt.body);
    case StmtKind::kBreak: return Flow::kBreak;
    case StmtKind::kContinue: return Flow::kContinue;
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::run_scope(const Body& body) {
  scopes_.emplace_back();
  const Flow flow = run_body(body);
  scopes_.pop_back();
  return flow;
}

Evaluator::Flow Evaluator::run_if(const Stmt& stmt) {
  for (const Branch& branch : stmt.branches) {
    if (!branch.condition || eval_condition(*branch.condition)) {
      return run_body(branch.body);
    }
  }
  return Flow::kNext;
}

/// Whether an item passes the loop's own `if`, which sees the item but nothing that the loop's body sets.
bool Evaluator::passes(const Stmt& stmt, const Value& item, std::size_t num_outer_scopes) {
  const auto inner = scopes_.begin() + static_cast<std::ptrdiff_t>(num_outer_scopes);
  std::vector<Scope> hidden(std::make_move_iterator(inner), std::make_move_iterator(scopes_.end()));
  scopes_.resize(num_outer_scopes);
  scopes_.emplace_back();
  assign(stmt.target, item);
  const bool passed = eval_condition(*stmt.condition);
  scopes_.pop_back();
  std::move(hidden.begin(), hidden.end(), std::back_inserter(scopes_));
  return passed;
}

std::shared_ptr<Loop> Evaluator::start_loop(const Stmt& stmt) {
  auto loop = std::make_shared<Loop>();
  auto items = std::make_shared<const std::vector<Value>>(iterate(eval(*stmt.expression), meter_));
  for (const Value& item : *items) {
    loop->depth = std::max(loop->depth, item.depth() + 1);
  }
  if (loop->depth > kMaxDepth) {
    throw TemplateError("values are nested deeper than " + std::to_string(kMaxDepth));
  }
  if (!stmt.condition) {
    loop->length = static_cast<std::int64_t>(items->size());
  }
  loop->pull = [this, &stmt, items, next = std::size_t{0}, is_running = false,
                num_scopes = scopes_.size()]() mutable -> std::optional<Value> {
    if (is_running) {
      throw TemplateError("the condition of a loop asks the same loop for its items");
    }
    while (next < items->size()) {
      const Value& item = (*items)[next++];
      is_running = true;
      const bool passed = !stmt.condition || passes(stmt, item, num_scopes);
      is_running = false;
      if (passed) {
        return item;
      }
    }
    return std::nullopt;
  };
  return loop;
}

Evaluator::Flow Evaluator::run_for(const Stmt& stmt) {
  const std::shared_ptr<Loop> loop = start_loop(stmt);
  bool none_finished = true;  // jinja2 runs the else part also where break or continue ended every turn
  while (loop->advance()) {
    meter_.step();
    scopes_.emplace_back();
    scopes_.back()["loop"] = loop;
    assign(stmt.target, *loop->current);
    const Flow flow = run_body(stmt.body);
    scopes_.pop_back();
    if (flow == Flow::kBreak) {
      break;
    }
    none_finished = none_finished && flow == Flow::kContinue;
  }
  loop->pull = nullptr;  // the loop variable may outlive the loop in a namespace
  return none_finished ? run_scope(stmt.otherwise) : Flow::kNext;
}

Evaluator::Flow Evaluator::run_set_block(const Stmt& stmt) {
  TextBuilder outer = std::exchange(out_, TextBuilder(meter_));
  const Flow flow = run_scope(stmt.body);
  Value text = std::exchange(out_, std::move(outer)).finish();
  if (flow != Flow::kNext) {
    return flow;
  }
  if (stmt.expression) {
    block_ = std::move(text);
    text = eval(*stmt.expression);
  }
  assign(stmt.target, text);
  return Flow::kNext;
}

void Evaluator::assign(const Target& target, const Value& value) {
  if (!target.parts.empty()) {
    const std::vector<Value> items = iterate(value, meter_);
    if (items.size() != target.parts.size()) {
      throw TemplateError("a value of " + std::to_string(items.size()) + " items cannot be assigned to " +
                          std::to_string(target.parts.size()) + " names");
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      assign(target.parts[i], items[i]);
    }
    return;
  }
  if (target.attribute.empty()) {
    scopes_.back()[target.name] = value;
    return;
  }
  Expr name;
  name.name = target.name;
  const Value object = look_up(name);
  Namespace* const* space = object.get_if<Namespace*>();
  if (space == nullptr) {
    throw TemplateError("'" + target.name + "' is no namespace, so its attributes cannot be set");
  }
  (*space)->attributes[target.attribute] = value;
}

}  // namespace unmask::runtime::chat
