// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "runtime/chat/evaluator.h"
#include "runtime/chat/printing.h"

namespace unmask::runtime::chat {

Value Evaluator::eval(const Expr& expr) {
  meter_.step();
  line_ = expr.line;
  const auto operand = [&](std::size_t i) { return eval(*expr.children[i]); };
  switch (expr.kind) {
    case ExprKind::kConstant: return expr.constant;
    case ExprKind::kName: return look_up(expr);
    case ExprKind::kList:
    case ExprKind::kTuple: return eval_items(expr);
    case ExprKind::kDict: return eval_dict(expr);
    case ExprKind::kAttribute: return get_attribute(operand(0), expr.name, meter_);
    case ExprKind::kSubscript: {
      const Value object = operand(0);
      return get_item(object, operand(1), meter_);
    }
    case ExprKind::kSlice: return eval_slice(expr);
    case ExprKind::kCall: return eval_call(expr);
    case ExprKind::kFilter:
    case ExprKind::kTest: return eval_filter(expr);
    case ExprKind::kNot: return !is_true(operand(0));
    case ExprKind::kNegate: return negate(operand(0));
    case ExprKind::kPlus: return plus(operand(0));
    case ExprKind::kAnd:
    case ExprKind::kOr:
    case ExprKind::kCondition: return eval_branching(expr);
    case ExprKind::kArithmetic: {
      const Value left = operand(0);
      return arithmetic(expr.operators[0], left, operand(1), meter_);
    }
    case ExprKind::kConcat: return eval_concat(expr);
    case ExprKind::kCompare: return eval_compare(expr);
  }
  return {};
}

Value Evaluator::look_up(const Expr& name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto found = scope->find(name.name);
    if (found != scope->end()) {
      return found->second;
    }
  }
  static constexpr std::array<std::pair<std::string_view, Function>, 8> kFunctions = {{{"range", Function::kRange},
                                                                                       {"namespace", Function::kNamespace},
                                                                                       {"dict", Function::kDict},
                                                                                       {"raise_exception", Function::kRaiseException},
                                                                                       {"strftime_now", Function::kStrftimeNow},
                                                                                       {"lipsum", Function::kLipsum},
                                                                                       {"cycler", Function::kCycler},
                                                                                       {"joiner", Function::kJoiner}}};
  for (const auto& [function_name, function] : kFunctions) {
    if (function_name == name.name) {
      return function;
    }
  }
  return undefined("'" + name.name + "'");
}

Value Evaluator::eval_items(const Expr& expr) {
  std::vector<Value> items;
  for (const ExprPtr& child : expr.children) {
    items.push_back(eval(*child));
  }
  return make_list(std::move(items), expr.kind == ExprKind::kTuple ? ListKind::kTuple : ListKind::kList, meter_);
}

Value Evaluator::eval_dict(const Expr& expr) {
  Dict dict;
  for (std::size_t i = 0; i < expr.children.size(); i += 2) {
    Value key = eval(*expr.children[i]);
    dict.set(std::move(key), eval(*expr.children[i + 1]));
  }
  return make_dict(std::move(dict));
}

Value Evaluator::eval_slice(const Expr& expr) {
  const Value object = eval(*expr.children[0]);
  const auto part = [&](std::size_t i) -> std::optional<std::int64_t> {
    const Value value = expr.children[i] ? eval(*expr.children[i]) : Value(None{});
    return value.is(Kind::kNone) ? std::nullopt : std::optional(require_int(value, "a slice"));
  };
  Slice wanted;
  wanted.start = part(1);
  wanted.stop = part(2);
  wanted.step = part(3);
  line_ = expr.line;
  if (auto result = slice(object, wanted, meter_)) {
    return *std::move(result);
  }
  require_defined(object);
  throw TemplateError("a " + type_name(object) + " cannot be sliced");  // jinja2 gives undefined where all is constant
}

Arguments Evaluator::eval_arguments(const Expr& expr) {
  Arguments arguments;
  for (std::size_t i = 1; i < expr.children.size(); ++i) {
    arguments.positional.push_back(eval(*expr.children[i]));
  }
  for (const Keyword& keyword : expr.keywords) {
    arguments.named.emplace_back(keyword.name, eval(*keyword.value));
  }
  return arguments;
}

Value Evaluator::eval_call(const Expr& expr) {
  const Value callee = eval(*expr.children[0]);
  const Arguments arguments = eval_arguments(expr);
  line_ = expr.line;
  if (const Function* function = callee.get_if<Function>()) {
    return call_function(*function, arguments);
  }
  if (const auto* method = callee.get_if<std::shared_ptr<const Method>>()) {
    return call_method({(*method)->name, (*method)->object, arguments, meter_});
  }
  require_defined(callee);
  throw TemplateError("a " + type_name(callee) + " cannot be called");
}

Value Evaluator::eval_filter(const Expr& expr) {
  const Value input = expr.children[0] ? eval(*expr.children[0]) : block_;
  const Arguments arguments = eval_arguments(expr);
  line_ = expr.line;
  const Call call{expr.name, input, arguments, meter_};
  return expr.kind == ExprKind::kTest ? Value(apply_test(call)) : apply_filter(call);
}

Value Evaluator::eval_concat(const Expr& expr) {
  std::vector<Value> parts;
  for (const ExprPtr& child : expr.children) {
    parts.push_back(eval(*child));
  }
  Text text;
  for (const Value& part : parts) {
    text = concat(text, to_text(part, meter_), meter_);
  }
  return text;
}

Value Evaluator::eval_compare(const Expr& expr) {
  Value left = eval(*expr.children[0]);
  for (std::size_t i = 0; i < expr.operators.size(); ++i) {
    Value right = eval(*expr.children[i + 1]);
    line_ = expr.line;
    if (!compare(expr.operators[i], left, right, meter_)) {
      return false;
    }
    left = std::move(right);
  }
  return true;
}

Value Evaluator::eval_branching(const Expr& expr) {
  Value first = eval(*expr.children[0]);
  if (expr.kind == ExprKind::kCondition) {
    if (is_true(first)) {
      return eval(*expr.children[1]);
    }
    return expr.children[2] ? eval(*expr.children[2]) : undefined("the value of an 'if' without 'else'");
  }
  const bool decided = is_true(first) == (expr.kind == ExprKind::kOr);
  return decided ? first : eval(*expr.children[1]);
}

}  // namespace unmask::runtime::chat
