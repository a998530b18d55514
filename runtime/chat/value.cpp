// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/value.h"

#include <algorithm>
#include <cmath>

namespace unmask::runtime::chat {
namespace {

/// One string per class of equal keys: 1, 1.0 and true are the same key.
std::string key_of(const Value& key) {
  if (key.is(Kind::kString)) {
    return "s" + std::string(key.text().bytes());
  }
  if (const auto integer = key.integer()) {
    return "i" + std::to_string(*integer);
  }
  if (const double* number = key.get_if<double>()) {
    constexpr double kInt64End = 9223372036854775808.0;
    if (*number == std::floor(*number) && *number >= -kInt64End && *number < kInt64End) {
      return "i" + std::to_string(static_cast<std::int64_t>(*number));
    }
    std::string bits(reinterpret_cast<const char*>(number), sizeof *number);
    return "f" + bits;
  }
  if (key.is(Kind::kNone)) {
    return "n";
  }
  throw TemplateError("a " + type_name(key) + " as key of a dict is not supported");
}

}  // namespace

std::optional<std::int64_t> Value::integer() const {
  if (const bool* flag = get_if<bool>()) {
    return *flag ? 1 : 0;
  }
  if (const std::int64_t* number = get_if<std::int64_t>()) {
    return *number;
  }
  return std::nullopt;
}

int Value::depth() const {
  if (const auto* list = get_if<std::shared_ptr<const List>>()) {
    return (*list)->depth;
  }
  if (const auto* dict = get_if<std::shared_ptr<const Dict>>()) {
    return (*dict)->depth;
  }
  if (const auto* loop = get_if<std::shared_ptr<Loop>>()) {
    return (*loop)->depth;
  }
  if (const auto* method = get_if<std::shared_ptr<const Method>>()) {
    return (*method)->object.depth() + 1;
  }
  return 0;
}

void Dict::set(Value key, Value value) {
  depth = std::max(depth, value.depth() + 1);
  if (depth > kMaxDepth) {
    throw TemplateError("values are nested deeper than " + std::to_string(kMaxDepth));
  }
  const auto [place, is_new] = index.try_emplace(key_of(key), items.size());
  if (is_new) {
    items.emplace_back(std::move(key), std::move(value));
  } else {
    items[place->second].second = std::move(value);
  }
}

const Value* Dict::find(const Value& key) const {
  const auto place = index.find(key_of(key));
  return place == index.end() ? nullptr : &items[place->second].second;
}

const Value* Dict::find(std::string_view key) const {
  const auto place = index.find("s" + std::string(key));
  return place == index.end() ? nullptr : &items[place->second].second;
}

bool Loop::advance() {
  before = std::move(current);
  current.reset();
  if (!ahead.empty()) {
    current = std::move(ahead.back());
    ahead.pop_back();
  } else if (pull) {
    current = pull();
  }
  ++index0;
  return current.has_value();
}

const Value* Loop::peek() {
  if (ahead.empty() && pull) {
    if (auto value = pull()) {
      ahead.push_back(std::move(*value));
    }
  }
  return ahead.empty() ? nullptr : &ahead.back();
}

std::int64_t Loop::num_items() {
  if (!length) {
    std::vector<Value> rest(std::make_move_iterator(ahead.rbegin()), std::make_move_iterator(ahead.rend()));
    while (auto value = pull ? pull() : std::nullopt) {
      rest.push_back(std::move(*value));
    }
    length = static_cast<std::int64_t>(rest.size()) + index0 + 1;
    std::reverse(rest.begin(), rest.end());
    ahead = std::move(rest);
  }
  return *length;
}

Value make_list(std::vector<Value> items, ListKind kind, Meter& meter) {
  meter.work(items.size());
  List list;
  list.kind = kind;
  list.items = std::move(items);
  for (const Value& item : list.items) {
    list.depth = std::max(list.depth, item.depth() + 1);
  }
  if (list.depth > kMaxDepth) {
    throw TemplateError("values are nested deeper than " + std::to_string(kMaxDepth));
  }
  return std::make_shared<const List>(std::move(list));
}

Value make_dict(Dict dict) { return std::make_shared<const Dict>(std::move(dict)); }

Value make_text(std::string_view bytes) { return Text(std::string(bytes), Origin::kTemplate); }

Value undefined(std::string what) { return Undefined{std::move(what)}; }

void require_defined(const Value& value) {
  if (const auto* missing = value.get_if<Undefined>()) {
    throw TemplateError(missing->what + " is undefined");
  }
}

std::string type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined: return "undefined value";
    case Kind::kNone: return "None";
    case Kind::kBool: return "bool";
    case Kind::kInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kString: return "str";
    case Kind::kDict: return "dict";
    case Kind::kNamespace: return "namespace";
    case Kind::kLoop: return "loop";
    case Kind::kMethod: return "method";
    case Kind::kFunction: return "function";
    case Kind::kList: break;
  }
  switch (value.list().kind) {
    case ListKind::kList: return "list";
    case ListKind::kTuple: return "tuple";
    case ListKind::kRange: return "range";
    case ListKind::kDictKeys: return "dict_keys";
    case ListKind::kDictValues: return "dict_values";
    case ListKind::kDictItems: return "dict_items";
    case ListKind::kIterator: break;
  }
  return "iterator";
}

bool is_true(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone: return false;
    case Kind::kBool:
    case Kind::kInt: return *value.integer() != 0;
    case Kind::kFloat: return *value.get_if<double>() != 0.0;
    case Kind::kString: return !value.text().empty();
    case Kind::kList: return value.list().kind == ListKind::kIterator || !value.list().items.empty();
    case Kind::kDict: return !value.dict().items.empty();
    case Kind::kLoop: return (*value.get_if<std::shared_ptr<Loop>>())->num_items() != 0;
    case Kind::kNamespace:
    case Kind::kMethod:
    case Kind::kFunction: break;
  }
  return true;
}

namespace {

bool equal_lists(const List& a, const List& b, Meter& meter) {
  const bool views = a.kind >= ListKind::kDictKeys || b.kind >= ListKind::kDictKeys;
  if (views) {
    throw TemplateError("comparing the views or iterators of dicts and lists is not supported");
  }
  return a.kind == b.kind && a.items.size() == b.items.size() &&
         std::equal(a.items.begin(), a.items.end(), b.items.begin(),
                    [&](const Value& x, const Value& y) { return equal(x, y, meter); });
}

bool equal_dicts(const Dict& a, const Dict& b, Meter& meter) {
  return a.items.size() == b.items.size() && std::all_of(a.items.begin(), a.items.end(), [&](const auto& item) {
           const Value* other = b.find(item.first);
           return other != nullptr && equal(item.second, *other, meter);
         });
}

bool is_number(const Value& value) { return value.is(Kind::kFloat) || value.integer().has_value(); }

/// 64 bits of mantissa or more: holds every int64 and every double exactly.
long double as_number(const Value& value) {
  static_assert(std::numeric_limits<long double>::digits >= 63, "comparing an int with a float needs 63 bits");
  const auto integer = value.integer();
  return integer ? static_cast<long double>(*integer) : static_cast<long double>(*value.get_if<double>());
}

}  // namespace

bool equal(const Value& a, const Value& b, Meter& meter) {
  meter.step();
  if (is_number(a) && is_number(b)) {
    return as_number(a) == as_number(b);
  }
  if (a.kind() != b.kind()) {
    return false;
  }
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone: return true;
    case Kind::kString: meter.bytes(std::min(a.text().size(), b.text().size())); return a.text().bytes() == b.text().bytes();
    case Kind::kList: return &a.list() == &b.list() || equal_lists(a.list(), b.list(), meter);
    case Kind::kDict: return &a.dict() == &b.dict() || equal_dicts(a.dict(), b.dict(), meter);
    case Kind::kNamespace: return *a.get_if<Namespace*>() == *b.get_if<Namespace*>();
    case Kind::kLoop: return *a.get_if<std::shared_ptr<Loop>>() == *b.get_if<std::shared_ptr<Loop>>();
    case Kind::kFunction: return *a.get_if<Function>() == *b.get_if<Function>();
    case Kind::kMethod: throw TemplateError("comparing methods is not supported");
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat: break;
  }
  return false;
}

}  // namespace unmask::runtime::chat
