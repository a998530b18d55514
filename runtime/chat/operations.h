// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "runtime/chat/value.h"

// Python's operators. Everything that Python would refuse, and integers that leave 64 bits, throws TemplateError.
namespace unmask::runtime::chat {

enum class Operator { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow, kConcat, kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

Value arithmetic(Operator op, const Value& a, const Value& b, Meter& meter);  ///< kAdd ... kPow
bool compare(Operator op, const Value& a, const Value& b, Meter& meter);      ///< kEq ... kNotIn
/// Throws TemplateError: this operator is not for these two.
[[noreturn]] void refuse_operands(Operator op, const Value& a, const Value& b);
bool is_list_or_tuple(const Value& value);

Value negate(const Value& a);
Value plus(const Value& a);

/// The values that a for loop visits; an iterator's remaining ones, which are then used up.
std::vector<Value> iterate(const Value& value, Meter& meter);
std::vector<Value> characters(const Text& text, Meter& meter);
/// len(value).
std::int64_t length(const Value& value, Meter& meter);

struct Slice {
  std::optional<std::int64_t> start;
  std::optional<std::int64_t> stop;
  std::optional<std::int64_t> step;
};
/// value[slice]; nothing if the value cannot be sliced.
std::optional<Value> slice(const Value& value, const Slice& slice, Meter& meter);
/// value[index] of a string or list; nothing if there is no such item.
std::optional<Value> item_at(const Value& value, std::int64_t index, Meter& meter);
/// Text repeated `count` times (none for a negative count).
Text repeat(const Text& text, std::int64_t count, Meter& meter);

}  // namespace unmask::runtime::chat
