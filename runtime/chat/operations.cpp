// SPDX-License-Identifier: Apache-2.0
// Arithmetic; the operators that compare are in comparisons.cpp.
#include "runtime/chat/operations.h"

#include <algorithm>
#include <cmath>

namespace unmask::runtime::chat {
namespace {

using Int = std::int64_t;

constexpr Int kMaxExactDouble = Int{1} << 53;

[[noreturn]] void refuse_size() { throw TemplateError("an integer leaves 64 bits, which is not supported"); }

Int power(Int base, Int exponent) {
  Int result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      refuse_size();
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
      refuse_size();
    }
  }
  return result;
}

void require_not_zero(bool is_zero) {
  if (is_zero) {
    throw TemplateError("division by zero");
  }
}

double exact_double(Int value) {
  if (value > kMaxExactDouble || value < -kMaxExactDouble) {
    throw TemplateError("arithmetic of floats with integers beyond 2**53 is not supported");
  }
  return static_cast<double>(value);
}

Value float_power(double a, double b) {
  if ((a == 0.0 && b < 0.0) || (a < 0.0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b))) {
    throw TemplateError("this power has no real value");
  }
  const double result = std::pow(a, b);
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) {
    throw TemplateError("the result of ** is too large");
  }
  return result;
}

/// Floor division and modulo as CPython's float_floor_div and float_rem do them.
Value float_division(Operator op, double a, double b) {
  require_not_zero(b == 0.0);
  double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0.0) {
    if ((b < 0.0) != (rest < 0.0)) {
      rest += b;
      quotient -= 1.0;
    }
  } else {
    rest = std::copysign(0.0, b);
  }
  if (op == Operator::kMod) {
    return rest;
  }
  if (quotient == 0.0) {
    return std::copysign(0.0, a / b);
  }
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1.0 : floored;
}

Value float_arithmetic(Operator op, double a, double b) {
  if (op == Operator::kAdd) {
    return a + b;
  }
  if (op == Operator::kSub) {
    return a - b;
  }
  if (op == Operator::kMul) {
    return a * b;
  }
  if (op == Operator::kDiv) {
    require_not_zero(b == 0.0);
    return a / b;
  }
  return op == Operator::kPow ? float_power(a, b) : float_division(op, a, b);
}

Int int_division(Operator op, Int a, Int b) {
  require_not_zero(b == 0);
  if (b == -1) {  // INT64_MIN / -1 traps
    Int result = 0;
    if (op == Operator::kFloorDiv && __builtin_sub_overflow(Int{0}, a, &result)) {
      refuse_size();
    }
    return result;
  }
  const Int rest = a % b;
  const bool adjust = rest != 0 && ((rest < 0) != (b < 0));
  if (op == Operator::kMod) {
    return adjust ? rest + b : rest;
  }
  return a / b - (adjust ? 1 : 0);
}

Value int_arithmetic(Operator op, Int a, Int b) {
  Int result = 0;
  bool overflow = false;
  if (op == Operator::kAdd) {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == Operator::kSub) {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == Operator::kMul) {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else if (op == Operator::kDiv || (op == Operator::kPow && b < 0)) {
    return float_arithmetic(op, exact_double(a), exact_double(b));
  } else {
    result = op == Operator::kPow ? power(a, b) : int_division(op, a, b);
  }
  if (overflow) {
    refuse_size();
  }
  return result;
}

Value repeat_list(const List& list, Int count, Meter& meter) {
  std::vector<Value> items;
  for (Int i = 0; i < count && !list.items.empty(); ++i) {
    meter.work(list.items.size());
    items.insert(items.end(), list.items.begin(), list.items.end());
  }
  return make_list(std::move(items), list.kind, meter);
}

Value multiply_sequence(const Value& sequence, const Value& count, const Value& a, const Value& b, Meter& meter) {
  const auto times = count.integer();
  if (times && sequence.is(Kind::kString)) {
    return repeat(sequence.text(), *times, meter);
  }
  if (times && is_list_or_tuple(sequence)) {
    return repeat_list(sequence.list(), *times, meter);
  }
  refuse_operands(Operator::kMul, a, b);
}

std::optional<double> as_float(const Value& value) {
  if (const auto integer = value.integer()) {
    return exact_double(*integer);
  }
  const double* number = value.get_if<double>();
  return number == nullptr ? std::nullopt : std::optional(*number);
}

}  // namespace

Value arithmetic(Operator op, const Value& a, const Value& b, Meter& meter) {
  const auto x = a.integer();
  const auto y = b.integer();
  if (x && y) {
    return int_arithmetic(op, *x, *y);
  }
  if (op == Operator::kAdd && a.is(Kind::kString) && b.is(Kind::kString)) {
    return concat(a.text(), b.text(), meter);
  }
  if (op == Operator::kAdd && is_list_or_tuple(a) && is_list_or_tuple(b) && a.list().kind == b.list().kind) {
    meter.work(a.list().items.size());
    std::vector<Value> items = a.list().items;
    items.insert(items.end(), b.list().items.begin(), b.list().items.end());
    return make_list(std::move(items), a.list().kind, meter);
  }
  if (op == Operator::kMod && a.is(Kind::kString)) {
    throw TemplateError("formatting with % is not supported");
  }
  if (op == Operator::kMul && (x || y)) {
    if (!a.is(Kind::kFloat) && !b.is(Kind::kFloat)) {
      return multiply_sequence(x ? b : a, x ? a : b, a, b, meter);
    }
  }
  const bool numbers = (x || a.is(Kind::kFloat)) && (y || b.is(Kind::kFloat));
  if (!numbers) {
    refuse_operands(op, a, b);
  }
  return float_arithmetic(op, *as_float(a), *as_float(b));
}

Value negate(const Value& a) {
  if (const double* number = a.get_if<double>()) {
    return -*number;
  }
  return int_arithmetic(Operator::kSub, 0, *plus(a).integer());
}

Value plus(const Value& a) {
  if (a.is(Kind::kFloat)) {
    return a;
  }
  if (const auto integer = a.integer()) {
    return *integer;
  }
  require_defined(a);
  throw TemplateError("a sign before a " + type_name(a));
}

}  // namespace unmask::runtime::chat
