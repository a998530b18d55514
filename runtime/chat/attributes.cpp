// SPDX-License-Identifier: Apache-2.0
// What stands behind a dot or in brackets.
#include <algorithm>
#include <span>

#include "runtime/chat/arguments.h"
#include "runtime/chat/operations.h"

namespace unmask::runtime::chat {
namespace {

using Names = std::span<const std::string_view>;

// The public attributes of Python's types. What is not ours must be refused rather than be undefined, because a template
// that tests for it would silently go another way than in Python.
constexpr std::string_view kStrMethods[] = {"strip",      "lstrip",     "rstrip",       "split", "splitlines",  "startswith",   "endswith",
                                            "upper",      "lower",      "title",        "join",  "capitalize",  "replace",      "find",
                                            "count",      "removeprefix", "removesuffix"};
constexpr std::string_view kStrRefused[] = {
    "casefold",  "center",       "encode",    "expandtabs", "format",    "format_map", "index",     "isalnum",   "isalpha",
    "isascii",   "isdecimal",    "isdigit",   "isidentifier", "islower", "isnumeric",  "isprintable", "isspace", "istitle",
    "isupper",   "ljust",        "maketrans", "partition",  "rfind",     "rindex",     "rjust",     "rpartition", "rsplit",
    "swapcase",  "translate",    "zfill"};
constexpr std::string_view kDictMethods[] = {"items", "get", "keys", "values"};
constexpr std::string_view kDictRefused[] = {"copy", "fromkeys"};
constexpr std::string_view kDictUnsafe[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kListRefused[] = {"copy", "count", "index"};
constexpr std::string_view kListUnsafe[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"};
constexpr std::string_view kTupleRefused[] = {"count", "index"};
constexpr std::string_view kRangeRefused[] = {"count", "index", "start", "stop", "step"};
constexpr std::string_view kViewRefused[] = {"isdisjoint", "mapping"};
constexpr std::string_view kNumberRefused[] = {"as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "from_bytes",
                                               "fromhex",          "hex",       "imag",       "is_integer", "numerator",  "real",
                                               "to_bytes"};
constexpr std::string_view kLoopMethods[] = {"cycle"};
constexpr std::string_view kLoopRefused[] = {"changed"};

struct AttributeNames {
  Names supported;
  Names refused;
  Names unsafe;
};

AttributeNames names_of_list(const List& list) {
  switch (list.kind) {
    case ListKind::kList: return {{}, kListRefused, kListUnsafe};
    case ListKind::kTuple: return {{}, kTupleRefused, {}};
    case ListKind::kRange: return {{}, kRangeRefused, {}};
    case ListKind::kDictKeys:
    case ListKind::kDictValues:
    case ListKind::kDictItems:
    case ListKind::kIterator: break;
  }
  return {{}, kViewRefused, {}};
}

AttributeNames names_of(const Value& object) {
  switch (object.kind()) {
    case Kind::kString: return {kStrMethods, kStrRefused, {}};
    case Kind::kDict: return {kDictMethods, kDictRefused, kDictUnsafe};
    case Kind::kList: return names_of_list(object.list());
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat: return {{}, kNumberRefused, {}};
    case Kind::kLoop: return {kLoopMethods, kLoopRefused, {}};
    case Kind::kUndefined:
    case Kind::kNone:
    case Kind::kNamespace:
    case Kind::kMethod:
    case Kind::kFunction: break;
  }
  return {};
}

bool holds(Names names, std::string_view name) { return std::find(names.begin(), names.end(), name) != names.end(); }

Value neighbour(const Value* item, const char* what) { return item != nullptr ? *item : undefined(what); }

std::optional<Value> loop_attribute(Loop& loop, std::string_view name) {
  if (name == "index" || name == "index0") {
    return loop.index0 + (name == "index" ? 1 : 0);
  }
  if (name == "first") {
    return loop.index0 == 0;
  }
  if (name == "last") {
    return loop.peek() == nullptr;
  }
  if (name == "length") {
    return loop.num_items();
  }
  if (name == "revindex" || name == "revindex0") {
    return loop.num_items() - loop.index0 - (name == "revindex0" ? 1 : 0);
  }
  if (name == "depth" || name == "depth0") {
    return std::int64_t{name == "depth" ? 1 : 0};
  }
  if (name == "previtem") {
    return neighbour(loop.before ? &*loop.before : nullptr, "loop.previtem of the first item");
  }
  if (name == "nextitem") {
    return neighbour(loop.peek(), "loop.nextitem of the last item");
  }
  return std::nullopt;
}

/// getattr(object, name): no value if there is no such attribute.
std::optional<Value> python_attribute(const Value& object, const std::string& name) {
  if (const auto* loop = object.get_if<std::shared_ptr<Loop>>()) {
    if (auto value = loop_attribute(**loop, name)) {
      return value;
    }
  }
  if (Namespace* const* space = object.get_if<Namespace*>()) {
    const auto found = (*space)->attributes.find(name);
    return found == (*space)->attributes.end() ? std::nullopt : std::optional(found->second);
  }
  if (name.starts_with("__") && name.ends_with("__")) {
    throw TemplateError("the attribute '" + name + "' is not accessible");
  }
  switch (method_kind(object, name)) {
    case MethodKind::kMissing: return std::nullopt;
    case MethodKind::kUnsafe: return undefined("the changing method '" + name + "'");
    case MethodKind::kRefused: throw TemplateError("the attribute '" + name + "' of a " + type_name(object) + " is not supported");
    case MethodKind::kSupported: break;
  }
  return std::make_shared<const Method>(Method{object, name});
}

std::string described(const Value& object, const std::string& name) { return "'" + name + "' of a " + type_name(object); }

bool is_key(const Value& value) {
  return value.is(Kind::kString) || value.is(Kind::kNone) || value.is(Kind::kFloat) || value.integer().has_value();
}

}  // namespace

MethodKind method_kind(const Value& object, std::string_view name) {
  const AttributeNames names = names_of(object);
  if (holds(names.supported, name)) {
    return MethodKind::kSupported;
  }
  if (holds(names.unsafe, name)) {
    return MethodKind::kUnsafe;
  }
  return holds(names.refused, name) ? MethodKind::kRefused : MethodKind::kMissing;
}

Value get_attribute(const Value& object, const std::string& name, Meter& meter) {
  require_defined(object);
  meter.step();
  if (auto value = python_attribute(object, name)) {
    return *std::move(value);
  }
  if (object.is(Kind::kDict)) {
    if (const Value* item = object.dict().find(name)) {
      return *item;
    }
  }
  return undefined(described(object, name));
}

Value get_item(const Value& object, const Value& index, Meter& meter) {
  require_defined(object);
  if (object.is(Kind::kDict)) {
    meter.bytes(index.is(Kind::kString) ? index.text().size() : 0);
    if (const Value* item = is_key(index) ? object.dict().find(index) : nullptr) {
      return *item;
    }
  } else if (const auto position = index.integer()) {
    if (auto item = item_at(object, *position, meter)) {
      return *std::move(item);
    }
  }
  if (!index.is(Kind::kString)) {
    return undefined("an item of a " + type_name(object));
  }
  const std::string name(index.text().bytes().substr(0, 200));  // the longest attribute is far shorter
  if (auto value = python_attribute(object, name)) {
    return *std::move(value);
  }
  return undefined(described(object, name));
}

}  // namespace unmask::runtime::chat
