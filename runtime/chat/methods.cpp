// SPDX-License-Identifier: Apache-2.0
// The methods of str, dict and loop that templates call.
#include <algorithm>

#include "runtime/chat/arguments.h"
#include "runtime/chat/operations.h"
#include "runtime/chat/text_functions.h"
#include "runtime/chat/unicode.h"

namespace unmask::runtime::chat {
namespace {

std::optional<Text> optional_text(const std::optional<Value>& argument, std::string_view name) {
  if (!argument || argument->is(Kind::kNone)) {
    return std::nullopt;
  }
  return require_text(*argument, name);
}

Value texts(const std::vector<Text>& parts, Meter& meter) {
  return make_list(std::vector<Value>(parts.begin(), parts.end()), ListKind::kList, meter);
}

Value split_method(const Call& call) {
  const auto bound = call.bind({"sep", "maxsplit"});
  const std::int64_t max_splits = bound[1] ? require_int(*bound[1], call.name) : -1;
  return texts(split(call.input.text(), optional_text(bound[0], call.name), max_splits, call.meter), call.meter);
}

void no_names(const Call& call) {
  if (!call.arguments.named.empty()) {
    throw TemplateError("the method " + std::string(call.name) + " takes no named arguments");
  }
}

bool has_affix(const Call& call, const Value& affix) {
  const std::string_view text = call.input.text().bytes();
  const std::string_view wanted = require_text(affix, call.name).bytes();
  return call.name == "startswith" ? text.starts_with(wanted) : text.ends_with(wanted);
}

Value affix_method(const Call& call) {
  no_names(call);
  const auto bound = call.bind({"affix"}, 1);
  call.meter.bytes(call.input.text().size());
  if (bound[0]->is(Kind::kList) && bound[0]->list().kind == ListKind::kTuple) {
    const auto& affixes = bound[0]->list().items;
    return std::any_of(affixes.begin(), affixes.end(), [&](const Value& affix) {
      call.meter.bytes(call.input.text().size());
      return has_affix(call, affix);
    });
  }
  return has_affix(call, *bound[0]);
}

Value join_method(const Call& call) {
  no_names(call);
  std::vector<Text> parts;
  for (const Value& item : iterate(*call.bind({"iterable"}, 1)[0], call.meter)) {
    parts.push_back(require_text(item, call.name));
  }
  return join(call.input.text(), parts, call.meter);
}

Value replace_method(const Call& call) {
  no_names(call);
  const auto bound = call.bind({"old", "new", "count"}, 2);
  const std::int64_t count = bound[2] ? require_int(*bound[2], call.name) : -1;
  return replace(call.input.text(), require_text(*bound[0], call.name), require_text(*bound[1], call.name), count, call.meter);
}

Value search_method(const Call& call) {
  no_names(call);
  const std::string_view text = call.input.text().bytes();
  const auto bound = call.bind({"sub"}, 1);
  const std::string_view wanted = require_text(*bound[0], call.name).bytes();
  call.meter.bytes(text.size());
  if (call.name == "find") {
    const std::size_t found = text.find(wanted);
    return found == std::string_view::npos ? std::int64_t{-1} : static_cast<std::int64_t>(num_code_points(text.substr(0, found)));
  }
  if (wanted.empty()) {
    return static_cast<std::int64_t>(num_code_points(text)) + 1;
  }
  std::int64_t count = 0;
  for (std::size_t at = text.find(wanted); at != std::string_view::npos; at = text.find(wanted, at + wanted.size())) {
    ++count;
  }
  return count;
}

Value remove_affix(const Call& call) {
  no_names(call);
  const Text& text = call.input.text();
  const auto bound = call.bind({"affix"}, 1);
  const std::string_view affix = require_text(*bound[0], call.name).bytes();
  call.meter.bytes(text.size());
  if (call.name == "removeprefix") {
    return text.bytes().starts_with(affix) ? text.slice(affix.size(), text.size()) : text;
  }
  return text.bytes().ends_with(affix) ? text.slice(0, text.size() - affix.size()) : text;
}

Value call_str(const Call& call) {
  const Text& text = call.input.text();
  const std::string_view name = call.name;
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    no_names(call);
    const Side side = name == "strip" ? Side::kBoth : name == "lstrip" ? Side::kLeft : Side::kRight;
    return strip(text, side, optional_text(call.bind({"chars"})[0], name), call.meter);
  }
  if (name == "split") {
    return split_method(call);
  }
  if (name == "startswith" || name == "endswith") {
    return affix_method(call);
  }
  if (name == "join") {
    return join_method(call);
  }
  if (name == "replace") {
    return replace_method(call);
  }
  if (name == "find" || name == "count") {
    return search_method(call);
  }
  if (name == "removeprefix" || name == "removesuffix") {
    return remove_affix(call);
  }
  call.bind({});
  if (name == "splitlines") {
    return texts(split_lines(text, call.meter), call.meter);
  }
  return name == "upper"   ? to_upper(text, call.meter)
         : name == "lower" ? to_lower(text, call.meter)
         : name == "title" ? title(text, call.meter)
                           : capitalize(text, call.meter);
}

Value call_dict(const Call& call) {
  const Dict& dict = call.input.dict();
  no_names(call);
  if (call.name == "get") {
    const auto bound = call.bind({"key", "default"}, 1);
    const Value* found = dict.find(*bound[0]);
    return found != nullptr ? *found : bound[1].value_or(None{});
  }
  call.bind({});
  const ListKind kind = call.name == "keys" ? ListKind::kDictKeys : call.name == "values" ? ListKind::kDictValues : ListKind::kDictItems;
  std::vector<Value> items;
  call.meter.work(dict.items.size());
  for (const auto& [key, value] : dict.items) {
    items.push_back(kind == ListKind::kDictKeys     ? key
                    : kind == ListKind::kDictValues ? value
                                                    : make_list({key, value}, ListKind::kTuple, call.meter));
  }
  return make_list(std::move(items), kind, call.meter);
}

}  // namespace

Value call_method(const Call& call) {
  if (call.input.is(Kind::kString)) {
    return call_str(call);
  }
  if (call.input.is(Kind::kDict)) {
    return call_dict(call);
  }
  const Loop& loop = **call.input.get_if<std::shared_ptr<Loop>>();  // loop.cycle is the only other method
  const auto& choices = call.arguments.positional;
  no_names(call);
  if (choices.empty()) {
    throw TemplateError("loop.cycle() needs values to choose from");
  }
  return choices[static_cast<std::size_t>(loop.index0) % choices.size()];
}

}  // namespace unmask::runtime::chat
