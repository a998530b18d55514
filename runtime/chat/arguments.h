// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/chat/value.h"

namespace unmask::runtime::chat {

/// The arguments of a call, filter or test.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  /// One entry per parameter, empty where the caller gave none. Throws TemplateError when arguments are left over or one of
  /// the first `num_required` is missing.
  std::vector<std::optional<Value>> bind(std::string_view function, std::initializer_list<std::string_view> parameters,
                                         std::size_t num_required) const;
};

/// What a filter, test, method or function needs to run.
struct Call {
  std::string_view name;
  const Value& input;
  const Arguments& arguments;
  Meter& meter;

  std::vector<std::optional<Value>> bind(std::initializer_list<std::string_view> parameters, std::size_t num_required = 0) const {
    return arguments.bind(name, parameters, num_required);
  }
};

/// The integer of an argument; throws TemplateError.
std::int64_t require_int(const Value& value, std::string_view function);
const Text& require_text(const Value& value, std::string_view function);

/// value.name and value[index] as jinja2's sandbox looks them up; undefined values where nothing is found.
Value get_attribute(const Value& object, const std::string& name, Meter& meter);
Value get_item(const Value& object, const Value& index, Meter& meter);

Value apply_filter(const Call& call);
bool apply_test(const Call& call);
/// call.input.name(arguments) of a str, dict or loop.
Value call_method(const Call& call);
enum class MethodKind { kMissing, kSupported, kRefused, kUnsafe };
/// What the attribute `name` of Python's type of `object` is; kUnsafe: the sandbox hides it.
MethodKind method_kind(const Value& object, std::string_view name);

}  // namespace unmask::runtime::chat
