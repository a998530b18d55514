// SPDX-License-Identifier: Apache-2.0
#include "launcher/options/option_spec.h"

#include <algorithm>
#include <charconv>

namespace unmask::launcher {
namespace {

std::string with_replaced(std::string_view text, char from, char to) {
  std::string out(text);
  std::replace(out.begin(), out.end(), from, to);
  return out;
}

/// The whole text as a number, or nothing.
template <class T>
std::optional<T> parse(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

bool in_range(const OptionSpec& spec, std::string_view value) {
  switch (spec.kind) {
    case ValueKind::kFlag:
    case ValueKind::kOnOff:
      return value == "on" || value == "off";
    case ValueKind::kChoice:
      return std::ranges::count(split_choices(spec.choices), value) > 0;
    case ValueKind::kChoices: {
      const auto parts = split_list(value);
      const auto choices = split_choices(spec.choices);
      return !parts.empty() && std::ranges::all_of(parts, [&](std::string_view part) { return std::ranges::count(choices, part) > 0; });
    }
    case ValueKind::kInteger: {
      const auto n = parse<std::uint64_t>(value);
      return n && *n >= spec.min && *n <= spec.max;
    }
    case ValueKind::kReal: {
      const auto x = parse<double>(value);
      return x && *x >= 0 && *x <= spec.max_real;  // false for a NaN
    }
    case ValueKind::kText:
      return value.size() >= spec.min;
  }
  return false;
}

/// A value in a message: cut where it is long, and without bytes that could disturb a terminal.
std::string shown(std::string_view value) {
  constexpr std::size_t kLongest = 60;
  std::string out(value.substr(0, kLongest));
  std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return value.size() > kLongest ? out + "..." : out;
}

std::vector<std::string_view> split(std::string_view text, char between) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(between), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::string join(const std::vector<std::string_view>& parts) { return format("{}", fmt::join(parts, ", ")); }

}  // namespace

std::vector<std::string_view> split_choices(std::string_view choices) { return split(choices, '|'); }
std::vector<std::string_view> split_list(std::string_view list) { return split(list, ','); }

const OptionSpec* find_option(std::string_view name) {
  const auto table = option_table();
  const auto at = std::ranges::find(table, name, &OptionSpec::name);
  return at == table.end() ? nullptr : &*at;
}

const OptionSpec* find_sampling_key(std::string_view key) {
  if (key.find('-') != std::string_view::npos) {
    return nullptr;
  }
  const OptionSpec* spec = find_option(with_replaced(key, '_', '-'));
  return spec != nullptr && spec->group == OptionGroup::kSampling ? spec : nullptr;
}

std::string environment_name(const OptionSpec& spec) {
  std::string name = "UNMASK_" + with_replaced(spec.name, '-', '_');
  std::ranges::transform(name, name.begin(), [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return name;
}

std::string request_key(const OptionSpec& spec) { return with_replaced(spec.name, '-', '_'); }

std::string allowed_values(const OptionSpec& spec) {
  switch (spec.kind) {
    case ValueKind::kFlag:
    case ValueKind::kOnOff:
      return "on or off";
    case ValueKind::kChoice:
    case ValueKind::kChoices:
      return "one of " + join(split_choices(spec.choices));
    case ValueKind::kInteger:
      return format("a whole number from {} to {}", spec.min, spec.max);
    case ValueKind::kReal:
      return format("a number from 0 to {}", spec.max_real);
    case ValueKind::kText:
      break;
  }
  return spec.min > 0 ? "a text that is not empty" : "a text";
}

std::optional<std::string> find_fault(const OptionSpec& spec, std::string_view value) {
  if (!in_range(spec, value)) {
    return format("expected {}, found '{}'", allowed_values(spec), shown(value));
  }
  return std::nullopt;
}

}  // namespace unmask::launcher
