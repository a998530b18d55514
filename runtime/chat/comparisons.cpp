// SPDX-License-Identifier: Apache-2.0
// The operators that compare two values, and what all operators share.
#include "runtime/chat/operations.h"

#include <algorithm>
#include <cmath>

namespace unmask::runtime::chat {
namespace {

std::string_view symbol(Operator op) {
  switch (op) {
    case Operator::kAdd: return "+";
    case Operator::kSub: return "-";
    case Operator::kMul: return "*";
    case Operator::kDiv: return "/";
    case Operator::kFloorDiv: return "//";
    case Operator::kMod: return "%";
    case Operator::kPow: return "**";
    case Operator::kLt: return "<";
    case Operator::kLe: return "<=";
    case Operator::kGt: return ">";
    case Operator::kGe: return ">=";
    case Operator::kConcat:
    case Operator::kEq:
    case Operator::kNe:
    case Operator::kIn:
    case Operator::kNotIn: break;
  }
  return "in";
}

template <class T>
int three_way(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

bool ordered(Operator op, int order) {
  return op == Operator::kLt ? order < 0 : op == Operator::kLe ? order <= 0 : op == Operator::kGt ? order > 0 : order >= 0;
}

bool less_or_so(Operator op, const Value& a, const Value& b, Meter& meter) {
  meter.step();
  const auto x = a.integer();
  const auto y = b.integer();
  if (x && y) {
    return ordered(op, three_way(*x, *y));
  }
  const double* u = a.get_if<double>();
  const double* v = b.get_if<double>();
  if ((x || u) && (y || v)) {
    const long double left = x ? static_cast<long double>(*x) : static_cast<long double>(*u);
    const long double right = y ? static_cast<long double>(*y) : static_cast<long double>(*v);
    return !std::isnan(left) && !std::isnan(right) && ordered(op, three_way(left, right));
  }
  if (a.is(Kind::kString) && b.is(Kind::kString)) {  // UTF-8 sorts by code point
    meter.bytes(std::min(a.text().size(), b.text().size()));
    return ordered(op, three_way(a.text().bytes(), b.text().bytes()));
  }
  if (is_list_or_tuple(a) && is_list_or_tuple(b) && a.list().kind == b.list().kind) {
    const auto& left = a.list().items;
    const auto& right = b.list().items;
    for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (!equal(left[i], right[i], meter)) {
        return less_or_so(op, left[i], right[i], meter);
      }
    }
    return ordered(op, three_way(left.size(), right.size()));
  }
  refuse_operands(op, a, b);
}

bool contains(const Value& container, const Value& item, Meter& meter) {
  if (container.is(Kind::kString)) {
    if (!item.is(Kind::kString)) {
      refuse_operands(Operator::kIn, item, container);
    }
    meter.bytes(container.text().size());
    return container.text().bytes().find(item.text().bytes()) != std::string_view::npos;
  }
  if (container.is(Kind::kDict)) {
    return container.dict().find(item) != nullptr;
  }
  if (container.is(Kind::kUndefined)) {
    return false;
  }
  if (!container.is(Kind::kList)) {
    refuse_operands(Operator::kIn, item, container);
  }
  const List& list = container.list();
  for (std::size_t i = list.next; i < list.items.size(); ++i) {
    const bool found = equal(list.items[i], item, meter);
    if (list.kind == ListKind::kIterator) {
      list.next = i + 1;
    }
    if (found) {
      return true;
    }
  }
  return false;
}

}  // namespace

void refuse_operands(Operator op, const Value& a, const Value& b) {
  require_defined(a);
  require_defined(b);
  throw TemplateError("operator " + std::string(symbol(op)) + " does not take " + type_name(a) + " and " + type_name(b));
}

bool is_list_or_tuple(const Value& value) {
  return value.is(Kind::kList) && (value.list().kind == ListKind::kList || value.list().kind == ListKind::kTuple);
}

bool compare(Operator op, const Value& a, const Value& b, Meter& meter) {
  if (op == Operator::kEq || op == Operator::kNe) {
    return equal(a, b, meter) == (op == Operator::kEq);
  }
  if (op == Operator::kIn || op == Operator::kNotIn) {
    return contains(b, a, meter) == (op == Operator::kIn);
  }
  return less_or_so(op, a, b, meter);
}

}  // namespace unmask::runtime::chat
