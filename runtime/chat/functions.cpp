// SPDX-License-Identifier: Apache-2.0
// The functions that a template may call by name.
#include <array>
#include <utility>

#include "runtime/chat/evaluator.h"
#include "runtime/chat/printing.h"

namespace unmask::runtime::chat {
namespace {

Dict to_dict(const Arguments& arguments, std::string_view function) {
  Dict dict;
  if (arguments.positional.size() > 1 || (arguments.positional.size() == 1 && !arguments.positional[0].is(Kind::kDict))) {
    throw TemplateError(std::string(function) + "() takes one dict and named arguments");
  }
  if (!arguments.positional.empty()) {
    dict = arguments.positional[0].dict();
  }
  for (const auto& [name, value] : arguments.named) {
    dict.set(make_text(name), value);
  }
  return dict;
}

Value make_range(const Arguments& arguments, Meter& meter) {
  constexpr std::uint64_t kMaxRange = 100'000;  // jinja2's sandbox sets it
  if (arguments.positional.empty() || arguments.positional.size() > 3 || !arguments.named.empty()) {
    throw TemplateError("range() takes one to three integers");
  }
  std::array<std::int64_t, 3> range = {0, 0, 1};
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    range[i] = require_int(arguments.positional[i], "range()");
  }
  if (arguments.positional.size() == 1) {
    std::swap(range[0], range[1]);
  }
  const auto [start, stop, step] = range;
  if (step == 0) {
    throw TemplateError("range() with a step of zero");
  }
  List list;
  list.kind = ListKind::kRange;
  list.range = range;
  if (step > 0 ? start < stop : start > stop) {
    // Unsigned, because the distance of two int64 may need 64 bits.
    const std::uint64_t distance = step > 0 ? static_cast<std::uint64_t>(stop) - static_cast<std::uint64_t>(start)
                                            : static_cast<std::uint64_t>(start) - static_cast<std::uint64_t>(stop);
    const std::uint64_t stride = step > 0 ? static_cast<std::uint64_t>(step) : std::uint64_t{0} - static_cast<std::uint64_t>(step);
    const std::uint64_t count = (distance - 1) / stride + 1;
    if (count > kMaxRange) {
      throw TemplateError("range() of more than 100000 numbers");
    }
    meter.work(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      list.items.emplace_back(static_cast<std::int64_t>(static_cast<std::uint64_t>(start) + i * static_cast<std::uint64_t>(step)));
    }
  }
  return std::make_shared<const List>(std::move(list));
}

}  // namespace

Value Evaluator::make_namespace(const Arguments& arguments) {
  const Dict dict = to_dict(arguments, "namespace");
  namespaces_.push_back(std::make_unique<Namespace>());
  for (const auto& [key, value] : dict.items) {
    namespaces_.back()->attributes[std::string(require_text(key, "namespace()").bytes())] = value;
  }
  return namespaces_.back().get();
}

Value Evaluator::call_function(Function function, const Arguments& arguments) {
  switch (function) {
    case Function::kRange: return make_range(arguments, meter_);
    case Function::kNamespace: return make_namespace(arguments);
    case Function::kDict: return make_dict(to_dict(arguments, "dict"));
    case Function::kRaiseException: {
      const auto bound = arguments.bind("raise_exception", {"message"}, 1);
      throw TemplateError("the template refuses these messages: " + std::string(to_text(*bound[0], meter_).bytes()));
    }
    case Function::kStrftimeNow: throw TemplateError("the function strftime_now is not supported: prompts do not depend on the date");
    case Function::kLipsum:
    case Function::kCycler:
    case Function::kJoiner: break;
  }
  throw TemplateError("the functions lipsum, cycler and joiner are not supported");
}

}  // namespace unmask::runtime::chat
