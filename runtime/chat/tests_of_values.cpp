// SPDX-License-Identifier: Apache-2.0
// What stands behind `is`.
#include <algorithm>
#include <array>

#include "runtime/chat/operations.h"
#include "runtime/chat/parser.h"
#include "runtime/chat/arguments.h"

namespace unmask::runtime::chat {
namespace {

template <Kind... kinds>
bool is_kind(const Call& call) {
  call.bind({});
  return (call.input.is(kinds) || ...);
}

bool is_defined(const Call& call) {
  call.bind({});
  return !call.input.is(Kind::kUndefined);
}

template <bool wanted>
bool is_flag(const Call& call) {
  call.bind({});
  const bool* flag = call.input.get_if<bool>();
  return flag != nullptr && *flag == wanted;
}

bool is_iterable(const Call& call) {
  call.bind({});
  const Kind kind = call.input.kind();
  return kind == Kind::kUndefined || kind == Kind::kString || kind == Kind::kList || kind == Kind::kDict || kind == Kind::kLoop;
}

bool is_sequence(const Call& call) {
  call.bind({});
  if (call.input.is(Kind::kList)) {
    return call.input.list().kind <= ListKind::kRange;
  }
  return call.input.is(Kind::kUndefined) || call.input.is(Kind::kString) || call.input.is(Kind::kDict);
}

bool has_rest(const Call& call, std::int64_t divisor, std::int64_t rest) {
  call.bind({});
  return equal(arithmetic(Operator::kMod, call.input, divisor, call.meter), rest, call.meter);
}

bool is_odd(const Call& call) { return has_rest(call, 2, 1); }
bool is_even(const Call& call) { return has_rest(call, 2, 0); }

bool is_divisible_by(const Call& call) {
  const auto bound = call.bind({"num"}, 1);
  return equal(arithmetic(Operator::kMod, call.input, *bound[0], call.meter), std::int64_t{0}, call.meter);
}

template <Operator op>
bool compares(const Call& call) {
  if (!call.arguments.named.empty()) {
    throw TemplateError("the test " + std::string(call.name) + " takes no named arguments");
  }
  return compare(op, call.input, *call.bind({"other"}, 1)[0], call.meter);
}

bool is_in(const Call& call) { return compare(Operator::kIn, call.input, *call.bind({"seq"}, 1)[0], call.meter); }

struct TestEntry {
  std::string_view name;
  bool (*function)(const Call&);
};

constexpr std::array kTests = {
    TestEntry{"defined", is_defined},
    TestEntry{"undefined", is_kind<Kind::kUndefined>},
    TestEntry{"none", is_kind<Kind::kNone>},
    TestEntry{"string", is_kind<Kind::kString>},
    TestEntry{"mapping", is_kind<Kind::kDict>},
    TestEntry{"boolean", is_kind<Kind::kBool>},
    TestEntry{"integer", is_kind<Kind::kInt>},
    TestEntry{"float", is_kind<Kind::kFloat>},
    TestEntry{"number", is_kind<Kind::kBool, Kind::kInt, Kind::kFloat>},
    TestEntry{"callable", is_kind<Kind::kMethod, Kind::kFunction>},
    TestEntry{"true", is_flag<true>},
    TestEntry{"false", is_flag<false>},
    TestEntry{"iterable", is_iterable},
    TestEntry{"sequence", is_sequence},
    TestEntry{"odd", is_odd},
    TestEntry{"even", is_even},
    TestEntry{"divisibleby", is_divisible_by},
    TestEntry{"in", is_in},
    TestEntry{"==", compares<Operator::kEq>},
    TestEntry{"eq", compares<Operator::kEq>},
    TestEntry{"equalto", compares<Operator::kEq>},
    TestEntry{"!=", compares<Operator::kNe>},
    TestEntry{"ne", compares<Operator::kNe>},
    TestEntry{"<", compares<Operator::kLt>},
    TestEntry{"lt", compares<Operator::kLt>},
    TestEntry{"lessthan", compares<Operator::kLt>},
    TestEntry{"<=", compares<Operator::kLe>},
    TestEntry{"le", compares<Operator::kLe>},
    TestEntry{">", compares<Operator::kGt>},
    TestEntry{"gt", compares<Operator::kGt>},
    TestEntry{"greaterthan", compares<Operator::kGt>},
    TestEntry{">=", compares<Operator::kGe>},
    TestEntry{"ge", compares<Operator::kGe>},
};

const TestEntry* find_test(std::string_view name) {
  const auto* found = std::find_if(kTests.begin(), kTests.end(), [&](const TestEntry& entry) { return entry.name == name; });
  return found == kTests.end() ? nullptr : found;
}

}  // namespace

bool is_known_test(std::string_view name) { return find_test(name) != nullptr; }

bool apply_test(const Call& call) {
  const TestEntry* test = find_test(call.name);
  if (test == nullptr) {
    throw TemplateError("the test '" + std::string(call.name.substr(0, 100)) + "' is not supported");
  }
  return test->function(call);
}

}  // namespace unmask::runtime::chat
