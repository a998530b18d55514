// SPDX-License-Identifier: Apache-2.0
#include "launcher/options/option_values.h"

#include <charconv>

namespace unmask::launcher {
namespace {

const OptionSpec& known(std::string_view name) {
  const OptionSpec* spec = find_option(name);
  UNMASK_CHECK(spec != nullptr, "no option --{}", name);
  return *spec;
}

/// What the table says of a request that gives nothing.
runtime::SamplingOptions table_sampling() {
  runtime::SamplingOptions out;
  for (const OptionSpec& spec : option_table()) {
    if (spec.apply != nullptr && !spec.fallback.empty()) {
      const std::string fallback(spec.fallback);
      spec.apply(out, std::span(&fallback, 1));
    }
  }
  return out;
}

}  // namespace

std::vector<std::string> OptionValues::texts(std::string_view name) const {
  const OptionSpec& spec = known(name);
  if (const auto at = given_.find(name); at != given_.end()) {
    return at->second;
  }
  return spec.fallback.empty() ? std::vector<std::string>{} : std::vector<std::string>{std::string(spec.fallback)};
}

std::string OptionValues::text(std::string_view name) const {
  const auto all = texts(name);
  UNMASK_CHECK(!all.empty(), "--{} has no value", name);
  return all.back();
}

std::int64_t OptionValues::integer(std::string_view name) const {
  const std::string value = text(name);
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  UNMASK_CHECK(error == std::errc(), "--{} {} is no checked integer", name, value);
  return out;
}

double OptionValues::real(std::string_view name) const {
  const std::string value = text(name);
  double out = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  UNMASK_CHECK(error == std::errc(), "--{} {} is no checked number", name, value);
  return out;
}

bool OptionValues::is_on(std::string_view name) const {
  const auto all = texts(name);
  return !all.empty() && all.back() == "on";
}

runtime::SamplingOptions sampling_of(const OptionValues::Given& given) {
  static const runtime::SamplingOptions kFallbacks = table_sampling();  // a batch asks by the million
  runtime::SamplingOptions out = kFallbacks;
  for (const auto& [name, values] : given) {
    const OptionSpec* spec = find_option(name);
    if (spec != nullptr && spec->apply != nullptr && !values.empty()) {
      spec->apply(out, values);
    }
  }
  return out;
}

runtime::SamplingOptions OptionValues::sampling() const { return sampling_of(given_); }

std::string OptionValues::dump(Command command) const {
  std::string out;
  for (const OptionSpec& spec : option_table()) {
    if (spec.commands.has(command) && spec.group != OptionGroup::kInput) {  // prompts are nobody else's business
      for (const std::string& value : texts(spec.name)) {
        out += format("{}{}={}", out.empty() ? "" : " ", spec.name, value);
      }
    }
  }
  return out;
}

}  // namespace unmask::launcher
