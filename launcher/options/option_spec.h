// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/sampling.h"

namespace unmask::launcher {

enum class Command : std::uint8_t { kGenerate, kLogits, kTokenize, kDetokenize, kInfo, kCheck, kBench, kBatch, kPack };

/// A set of commands: which ones take an option.
struct CommandSet {
  std::uint32_t bits = 0;
  constexpr bool has(Command c) const { return ((bits >> static_cast<unsigned>(c)) & 1U) != 0; }
};
constexpr CommandSet operator|(CommandSet a, CommandSet b) { return {a.bits | b.bits}; }
constexpr CommandSet only(Command c) { return {std::uint32_t{1} << static_cast<unsigned>(c)}; }

enum class OptionGroup { kModel, kInput, kSampling, kOutput, kMachine };
enum class ValueKind {
  kFlag,     ///< takes no value on the command line; on|off in the environment
  kOnOff,    ///< on|off; a boolean in a request
  kChoice,   ///< one of `choices`
  kChoices,  ///< one of `choices`, or several with commas between them, where the command takes several
  kInteger,  ///< whole number in [min, max]
  kReal,     ///< number in [0, max_real]
  kText,
};
enum class Repeat { kLastWins, kCollects };

/// One option, declared once: parsing, environment variable, request key, help and the configuration dump come from here.
struct OptionSpec {
  std::string_view name = {};          ///< as on the command line, without the dashes
  char letter = 0;                     ///< the short form, -o; 0: none
  OptionGroup group = OptionGroup::kMachine;
  ValueKind kind = ValueKind::kText;
  CommandSet commands = {};
  std::string_view value = {};         ///< what stands for the value in the help: a unit, or a word in capitals
  std::string_view fallback = {};      ///< the value that counts when none is given; empty: none
  std::string_view fallback_note = {}; ///< what happens then, where a value cannot say it
  std::string_view choices = {};       ///< kChoice: separated by '|'
  std::uint64_t min = 0, max = 0;      ///< kInteger; kText: min is the least length in bytes
  double max_real = 0;                 ///< kReal
  Repeat repeat = Repeat::kLastWins;
  std::string_view help = {};
  /// Sampling options: puts checked values into a request's options.
  void (*apply)(runtime::SamplingOptions& options, std::span<const std::string> values) = nullptr;
};

/// Every option of the program, in the order of the help.
std::span<const OptionSpec> option_table();

/// The option of this name ("gen-length"), or nullptr.
const OptionSpec* find_option(std::string_view name);
/// The sampling option of a request's key ("gen_length"), or nullptr.
const OptionSpec* find_sampling_key(std::string_view key);

std::string environment_name(const OptionSpec& spec);  ///< UNMASK_GEN_LENGTH
std::string request_key(const OptionSpec& spec);       ///< gen_length
std::string allowed_values(const OptionSpec& spec);    ///< "a whole number from 1 to 2147483647", "one of none, dual"

/// What is wrong with this value, as "expected ..., found ..."; nothing if it is in range.
std::optional<std::string> find_fault(const OptionSpec& spec, std::string_view value);

/// The parts of "a,b,c".
std::vector<std::string_view> split_list(std::string_view list);

/// The parts of "a|b|c".
std::vector<std::string_view> split_choices(std::string_view choices);

}  // namespace unmask::launcher
