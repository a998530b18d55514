// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/options/option_spec.h"
#include "runtime/sampling.h"

namespace unmask::launcher {

/// The checked values of one run: what the command line or the environment gave, else the table's defaults.
class OptionValues {
 public:
  using Given = std::map<std::string, std::vector<std::string>, std::less<>>;

  OptionValues() = default;
  explicit OptionValues(Given given) : given_(std::move(given)) {}

  /// Whether somebody gave a value; the defaults do not count.
  bool given(std::string_view name) const { return given_.contains(name); }
  const Given& all_given() const { return given_; }

  /// The value in force; an option without value and default must not be asked for.
  std::string text(std::string_view name) const;
  std::vector<std::string> texts(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  double real(std::string_view name) const;
  bool is_on(std::string_view name) const;

  /// Every sampling option in force.
  runtime::SamplingOptions sampling() const;

  /// "name=value ..." of all options of a command that have a value, inputs left out, in the order of the table: for the log and for
  /// the handshake.
  std::string dump(Command command) const;

 private:
  Given given_;
};

/// The sampling options among these checked values, and the table's defaults for the others.
runtime::SamplingOptions sampling_of(const OptionValues::Given& given);

}  // namespace unmask::launcher
