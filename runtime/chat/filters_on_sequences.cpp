// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/chat/filters.h"
#include "runtime/chat/operations.h"
#include "runtime/chat/printing.h"
#include "runtime/chat/text_functions.h"

namespace unmask::runtime::chat {
namespace {

/// Items that `attribute` (a name, an index, or names and indices joined by dots) selects, one after another.
Value attribute_of(Value item, const Value& attribute, const std::optional<Value>& fallback, Meter& meter) {
  std::vector<Value> steps = {attribute};
  if (attribute.is(Kind::kString)) {
    const std::vector<Text> names = split(attribute.text(), Text(".", Origin::kTemplate), -1, meter);
    steps.assign(names.begin(), names.end());
  }
  for (Value& step : steps) {
    if (step.is(Kind::kString)) {
      const std::string_view digits = step.text().bytes();
      constexpr std::size_t kMaxDigits = 18;
      if (!digits.empty() && digits.size() <= kMaxDigits && digits.find_first_not_of("0123456789") == std::string_view::npos) {
        step = static_cast<std::int64_t>(std::stoll(std::string(digits)));
      }
    }
    item = get_item(item, step, meter);
    if (fallback && !fallback->is(Kind::kNone) && item.is(Kind::kUndefined)) {
      item = *fallback;
    }
  }
  return item;
}

Value iterator(std::vector<Value> items, Meter& meter) { return make_list(std::move(items), ListKind::kIterator, meter); }

bool is_reversible(const Value& value) {
  return value.is(Kind::kString) || value.is(Kind::kDict) || value.is(Kind::kUndefined) ||
         (value.is(Kind::kList) && value.list().kind != ListKind::kIterator);
}

Arguments without_first(const Arguments& arguments, std::size_t count) {
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(count), arguments.positional.end());
  rest.named = arguments.named;
  return rest;
}

}  // namespace

Value length_filter(const Call& call) {
  call.bind({});
  return length(call.input, call.meter);
}

Value join_filter(const Call& call) {
  const auto bound = call.bind({"d", "attribute"});
  std::vector<Text> parts;
  for (const Value& item : iterate(call.input, call.meter)) {
    const bool whole = !bound[1] || bound[1]->is(Kind::kNone);
    parts.push_back(to_text(whole ? item : attribute_of(item, *bound[1], std::nullopt, call.meter), call.meter));
  }
  return join(to_text(bound[0].value_or(Text()), call.meter), parts, call.meter);
}

Value first_filter(const Call& call) {
  call.bind({});
  if (call.input.is(Kind::kString)) {
    const auto item = call.input.text().empty() ? std::nullopt : item_at(call.input, 0, call.meter);
    return item ? *item : undefined("the first item of an empty string");
  }
  if (call.input.is(Kind::kList) && call.input.list().kind == ListKind::kIterator) {
    const List& list = call.input.list();
    return list.next < list.items.size() ? list.items[list.next++] : undefined("the first item of an empty iterator");
  }
  const std::vector<Value> items = iterate(call.input, call.meter);
  return items.empty() ? undefined("the first item of an empty sequence") : items.front();
}

Value last_filter(const Call& call) {
  call.bind({});
  if (!is_reversible(call.input)) {
    throw TemplateError("a " + type_name(call.input) + " has no last item");
  }
  if (call.input.is(Kind::kString)) {
    const auto item = item_at(call.input, -1, call.meter);
    return item ? *item : undefined("the last item of an empty string");
  }
  const std::vector<Value> items = iterate(call.input, call.meter);
  return items.empty() ? undefined("the last item of an empty sequence") : items.back();
}

Value list_filter(const Call& call) {
  call.bind({});
  return make_list(iterate(call.input, call.meter), ListKind::kList, call.meter);
}

Value reverse_filter(const Call& call) {
  call.bind({});
  if (call.input.is(Kind::kString)) {
    return reversed(call.input.text(), call.meter);
  }
  const bool is_iterator = !is_reversible(call.input);
  std::vector<Value> items = iterate(call.input, call.meter);
  std::reverse(items.begin(), items.end());
  return make_list(std::move(items), is_iterator ? ListKind::kList : ListKind::kIterator, call.meter);
}

Value items_filter(const Call& call) {
  call.bind({});
  std::vector<Value> items;
  if (!call.input.is(Kind::kUndefined)) {
    if (!call.input.is(Kind::kDict)) {
      throw TemplateError("items needs a mapping, found a " + type_name(call.input));
    }
    for (const auto& [key, value] : call.input.dict().items) {
      items.push_back(make_list({key, value}, ListKind::kTuple, call.meter));
    }
  }
  return iterator(std::move(items), call.meter);
}

Value dictsort_filter(const Call& call) {
  const auto bound = call.bind({"case_sensitive", "by", "reverse"});
  const bool case_sensitive = bound[0] && is_true(*bound[0]);
  const bool by_value = bound[1] && require_text(*bound[1], "dictsort").bytes() == "value";
  if (bound[1] && !by_value && bound[1]->text().bytes() != "key") {
    throw TemplateError("dictsort by something else than 'key' or 'value'");
  }
  if (!call.input.is(Kind::kDict)) {
    require_defined(call.input);
    throw TemplateError("dictsort needs a dict, found a " + type_name(call.input));
  }
  struct Row {
    Value key;
    Value pair;
  };
  std::vector<Row> rows;
  for (const auto& [key, value] : call.input.dict().items) {
    const Value& by = by_value ? value : key;
    rows.push_back({by.is(Kind::kString) && !case_sensitive ? Value(to_lower(by.text(), call.meter)) : by,
                    make_list({key, value}, ListKind::kTuple, call.meter)});
  }
  const bool descending = bound[2] && is_true(*bound[2]);
  std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
    return compare(Operator::kLt, descending ? b.key : a.key, descending ? a.key : b.key, call.meter);
  });
  std::vector<Value> items;
  for (Row& row : rows) {
    items.push_back(std::move(row.pair));
  }
  return make_list(std::move(items), ListKind::kList, call.meter);
}

Value map_filter(const Call& call) {
  std::vector<Value> mapped;
  const bool by_attribute = call.arguments.positional.empty();
  if (!is_true(call.input)) {
    return iterator({}, call.meter);
  }
  if (by_attribute) {
    const auto bound = call.bind({"attribute", "default"}, 1);
    for (const Value& item : iterate(call.input, call.meter)) {
      mapped.push_back(attribute_of(item, *bound[0], bound[1], call.meter));
    }
    return iterator(std::move(mapped), call.meter);
  }
  const Text name = require_text(call.arguments.positional[0], "map");
  if (name.bytes() == "map" || name.bytes() == "safe" || name.bytes() == "e" || name.bytes() == "escape") {
    throw TemplateError("map of the filter " + std::string(name.bytes()) + " is not supported");
  }
  const Arguments rest = without_first(call.arguments, 1);
  for (const Value& item : iterate(call.input, call.meter)) {
    call.meter.step();
    mapped.push_back(apply_filter({name.bytes(), item, rest, call.meter}));
  }
  return iterator(std::move(mapped), call.meter);
}

Value select_filter(const Call& call) {
  const bool by_attribute = call.name == "selectattr" || call.name == "rejectattr";
  const bool wanted = call.name == "select" || call.name == "selectattr";
  const std::size_t num_own = by_attribute ? 1 : 0;
  const auto& positional = call.arguments.positional;
  if (!is_true(call.input)) {
    return iterator({}, call.meter);
  }
  if (positional.size() < num_own) {
    throw TemplateError(std::string(call.name) + " needs the name of an attribute");
  }
  const bool has_test = positional.size() > num_own;
  const Text test = has_test ? require_text(positional[num_own], call.name) : Text();
  const Arguments rest = has_test ? without_first(call.arguments, num_own + 1) : Arguments();
  std::vector<Value> selected;
  for (const Value& item : iterate(call.input, call.meter)) {
    call.meter.step();
    const Value value = by_attribute ? attribute_of(item, positional[0], std::nullopt, call.meter) : item;
    if ((has_test ? apply_test({test.bytes(), value, rest, call.meter}) : is_true(value)) == wanted) {
      selected.push_back(item);
    }
  }
  return iterator(std::move(selected), call.meter);
}

}  // namespace unmask::runtime::chat
