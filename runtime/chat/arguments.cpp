// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/arguments.h"

#include <algorithm>

namespace unmask::runtime::chat {

std::vector<std::optional<Value>> Arguments::bind(std::string_view function, std::initializer_list<std::string_view> parameters,
                                                  std::size_t num_required) const {
  if (positional.size() > parameters.size()) {
    throw TemplateError(std::string(function) + " takes at most " + std::to_string(parameters.size()) + " arguments, found " +
                        std::to_string(positional.size()));
  }
  std::vector<std::optional<Value>> bound(parameters.size());
  std::copy(positional.begin(), positional.end(), bound.begin());
  for (const auto& [name, value] : named) {
    const auto* parameter = std::find(parameters.begin(), parameters.end(), name);
    if (parameter == parameters.end()) {
      throw TemplateError(std::string(function) + " with the argument '" + name + "' is not supported");
    }
    auto& place = bound[static_cast<std::size_t>(parameter - parameters.begin())];
    if (place) {
      throw TemplateError(std::string(function) + ": the argument '" + name + "' is given twice");
    }
    place = value;
  }
  for (std::size_t i = 0; i < num_required; ++i) {
    if (!bound[i]) {
      throw TemplateError(std::string(function) + ": an argument is missing");
    }
  }
  return bound;
}

std::int64_t require_int(const Value& value, std::string_view function) {
  const auto integer = value.integer();
  if (!integer) {
    require_defined(value);
    throw TemplateError(std::string(function) + " needs an integer, found a " + type_name(value));
  }
  return *integer;
}

const Text& require_text(const Value& value, std::string_view function) {
  if (!value.is(Kind::kString)) {
    require_defined(value);
    throw TemplateError(std::string(function) + " needs a string, found a " + type_name(value));
  }
  return value.text();
}

}  // namespace unmask::runtime::chat
