// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/chat/text.h"

// The values of a template: Python's, as far as templates can see them. Everything but a namespace is immutable, and
// containers know their depth (at most kMaxDepth), so that printing, comparing and destroying may recurse.
namespace unmask::runtime::chat {

struct List;
struct Dict;
struct Namespace;
struct Loop;
struct Method;

struct Undefined {
  std::string what;  ///< what was looked up, for the message when it is used
};
struct None {};
enum class Function { kRange, kNamespace, kDict, kRaiseException, kStrftimeNow, kLipsum, kCycler, kJoiner };

enum class Kind { kUndefined, kNone, kBool, kInt, kFloat, kString, kList, kDict, kNamespace, kLoop, kMethod, kFunction };

class Value {
 public:
  /// Namespaces belong to the evaluator: they are the one value that could form a cycle.
  using Variant = std::variant<Undefined, None, bool, std::int64_t, double, Text, std::shared_ptr<const List>,
                               std::shared_ptr<const Dict>, Namespace*, std::shared_ptr<Loop>, std::shared_ptr<const Method>, Function>;

  Value() = default;
  template <class T>
    requires(!std::is_same_v<std::remove_cvref_t<T>, Value> && std::is_constructible_v<Variant, std::in_place_type_t<std::remove_cvref_t<T>>, T>)
  Value(T&& value) : value_(std::in_place_type<std::remove_cvref_t<T>>, std::forward<T>(value)) {}

  Kind kind() const { return static_cast<Kind>(value_.index()); }
  bool is(Kind kind) const { return this->kind() == kind; }
  template <class T>
  const T* get_if() const {
    return std::get_if<T>(&value_);
  }
  const Text& text() const { return std::get<Text>(value_); }
  const List& list() const { return *std::get<std::shared_ptr<const List>>(value_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(value_); }
  /// The integer of an int or (as in Python) a bool.
  std::optional<std::int64_t> integer() const;
  int depth() const;  ///< 0 for what holds no other values

 private:
  Variant value_;
};

/// Everything that is iterated by position.
enum class ListKind { kList, kTuple, kRange, kDictKeys, kDictValues, kDictItems, kIterator };

struct List {
  ListKind kind = ListKind::kList;
  std::vector<Value> items;
  std::array<std::int64_t, 3> range{};  ///< kRange: start, stop, step
  mutable std::size_t next = 0;         ///< kIterator: items before it were taken; iterators never outlive a rendering
  int depth = 1;
};

struct Dict {
  std::vector<std::pair<Value, Value>> items;  ///< in order of insertion; keys are scalars
  std::unordered_map<std::string, std::size_t> index;
  int depth = 1;

  /// Later values replace earlier ones of an equal key. Throws TemplateError for a key that is no scalar.
  void set(Value key, Value value);
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

struct Namespace {
  std::map<std::string, Value, std::less<>> attributes;
};

/// The `loop` variable. Items are pulled one by one, because a loop's filter may depend on what its body did.
struct Loop {
  std::function<std::optional<Value>()> pull;  ///< empties itself when the loop is over
  std::vector<Value> ahead;                    ///< pulled but not yet visited, in reverse order
  std::optional<Value> before;
  std::optional<Value> current;
  std::optional<std::int64_t> length;
  std::int64_t index0 = -1;
  int depth = 1;

  bool advance();
  const Value* peek();
  std::int64_t num_items();
};

/// A bound method: what `text.strip` is before it is called.
struct Method {
  Value object;
  std::string name;
};

Value make_list(std::vector<Value> items, ListKind kind, Meter& meter);
Value make_dict(Dict dict);
Value make_text(std::string_view bytes);  ///< the template's own
Value undefined(std::string what);

/// Throws TemplateError("'x' is undefined") for an undefined value.
void require_defined(const Value& value);

std::string type_name(const Value& value);  ///< Python's name of the type
bool is_true(const Value& value);
/// Python's ==. `in` and dict keys use it too.
bool equal(const Value& a, const Value& b, Meter& meter);

}  // namespace unmask::runtime::chat
