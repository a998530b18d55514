// SPDX-License-Identifier: Apache-2.0
#include "launcher/options/command_line.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "launcher/options/command_table.h"

namespace unmask::launcher {
namespace {

[[noreturn]] void usage(std::string_view command, const std::string& message) {
  fail(ExitCode::kUsage, "{}; see 'unmask {}{}--help'", message, command, command.empty() ? "" : " ");
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

const CommandSpec& find_command(const std::string& name) {
  std::vector<std::string_view> names;
  for (const CommandSpec& spec : command_table()) {
    if (spec.name == name) {
      return spec;
    }
    names.push_back(spec.name);
  }
  const auto meant = nearest(name, names);
  usage("", format("expected a command, found '{}'{}", name, meant ? format("; did you mean '{}'?", *meant) : ""));
}

std::vector<const OptionSpec*> options_of(Command command) {
  std::vector<const OptionSpec*> out;
  for (const OptionSpec& spec : option_table()) {
    if (spec.commands.has(command)) {
      out.push_back(&spec);
    }
  }
  return out;
}

[[noreturn]] void refuse_extra(const CommandSpec& command, const std::string& extra) {
  if (!extra.starts_with("-")) {
    usage(command.name, format("expected an option, found '{}'; texts are given with --prompt", extra));
  }
  const std::string typed = extra.substr(0, extra.find('='));
  if (const OptionSpec* other = typed.starts_with("--") ? find_option(typed.substr(2)) : nullptr) {
    usage(command.name, format("'unmask {}' has no option --{}", command.name, other->name));
  }
  std::vector<std::string_view> names;
  for (const OptionSpec* spec : options_of(command.command)) {
    names.push_back(spec->name);
  }
  const auto meant = nearest(typed.substr(std::min(typed.find_first_not_of('-'), typed.size())), names);
  usage(command.name, format("unknown option '{}'{}", typed, meant ? format("; did you mean --{}?", *meant) : ""));
}

/// CLI11 takes "--name=" for a name whose value follows; the empty value is meant.
std::vector<std::string> with_empty_values(const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  for (const std::string& argument : arguments) {
    if (argument.starts_with("--") && argument.find('=') == argument.size() - 1) {
      out.push_back(argument.substr(0, argument.size() - 1));
      out.emplace_back();
    } else {
      out.push_back(argument);
    }
  }
  return out;
}

std::string normalised_flag(std::string value) {
  std::ranges::transform(value, value.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (value == "1" || value == "true" || value == "yes") {
    return "on";
  }
  return value == "0" || value == "false" || value == "no" ? "off" : value;
}

/// `bench gemm` is short for `bench --bench gemm`.
std::vector<std::string> with_subject(const CommandSpec& command, std::vector<std::string> arguments) {
  if (!command.subject.empty() && !arguments.empty() && !arguments.front().starts_with("-")) {
    arguments.insert(arguments.begin(), format("--{}", command.subject));
  }
  return arguments;
}

OptionValues::Given parse_arguments(const CommandSpec& command, const std::vector<std::string>& arguments) {
  CLI::App app;
  app.set_help_flag();
  std::vector<std::pair<const OptionSpec*, CLI::Option*>> declared;
  for (const OptionSpec* spec : options_of(command.command)) {
    const std::string name = spec->letter == 0 ? format("--{}", spec->name) : format("-{},--{}", spec->letter, spec->name);
    CLI::Option* option = nullptr;
    if (spec->kind == ValueKind::kFlag) {
      option = app.add_flag(name);
    } else {
      option = app.add_option(name, CLI::callback_t{})->expected(1)->allow_extra_args(false);
      option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    }
    declared.emplace_back(spec, option);
  }
  std::vector<std::string> reversed = with_empty_values(arguments);  // CLI11 takes them last first
  std::ranges::reverse(reversed);
  app.allow_extras();
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::ArgumentMismatch& error) {  // "--name: 1 required TEXT missing"
    const std::string message = error.what();
    usage(command.name, format("{}: expected a value, found none", message.substr(0, message.find(':'))));
  } catch (const CLI::Error& error) {
    usage(command.name, error.what());
  }
  if (const auto extras = app.remaining(); !extras.empty()) {
    refuse_extra(command, extras.front());
  }
  OptionValues::Given given;
  for (const auto& [spec, option] : declared) {
    if (option->count() == 0) {
      continue;
    }
    given[std::string(spec->name)] =
        spec->kind == ValueKind::kFlag ? std::vector<std::string>{normalised_flag(option->results().back())} : option->results();
  }
  return given;
}

void check(const CommandSpec& command, const OptionSpec& spec, const std::string& value, const std::string& where) {
  if (const auto fault = find_fault(spec, value)) {
    usage(command.name, format("{}: {}", where, *fault));
  }
}

/// Checks what the command line gave, and adds what the environment gives beyond it.
OptionValues::Given merged(const CommandSpec& command, OptionValues::Given given, const Environment& environment) {
  for (const OptionSpec* spec : options_of(command.command)) {
    if (const auto at = given.find(spec->name); at != given.end()) {
      for (const std::string& value : at->second) {
        check(command, *spec, value, format("--{}", spec->name));
      }
      if (spec->repeat == Repeat::kLastWins) {
        at->second.erase(at->second.begin(), at->second.end() - 1);
      }
      if (spec->kind == ValueKind::kFlag && at->second.back() == "off") {
        given.erase(at);
      }
      continue;
    }
    const std::string name = environment_name(*spec);
    auto value = environment(name);
    if (value && !value->empty()) {
      const bool is_switch = spec->kind == ValueKind::kFlag || spec->kind == ValueKind::kOnOff;
      const std::string text = is_switch ? normalised_flag(*value) : *value;
      check(command, *spec, text, format("environment variable {}", name));
      if (spec->kind != ValueKind::kFlag || text == "on") {
        given[std::string(spec->name)] = {text};
      }
    }
  }
  return given;
}

void check_combinations(const CommandSpec& command, const OptionValues& values) {
  const auto exclude = [&](std::string_view a, std::string_view b, std::string_view why) {
    if (values.given(a) && values.given(b)) {
      usage(command.name, format("--{} and --{} exclude each other: {}", a, b, why));
    }
  };
  if (const bool needs_none = command.command == Command::kInfo || command.command == Command::kCheck ||
                                  command.command == Command::kBench || (command.command == Command::kBatch && values.given("status"));
      !needs_none && !values.given("model")) {
    usage(command.name, "expected --model, a checkpoint folder or a packed model, found none");
  }
  if (command.command == Command::kGenerate) {
    for (const char* input : {"prompt", "prompt-tokens", "messages"}) {
      exclude("requests", input, "each line of the file brings its own prompt");
    }
    exclude("raw", "messages", "a conversation needs the chat template");
    exclude("raw", "system", "a system message needs the chat template");
    if (!values.given("requests") && !values.given("prompt") && !values.given("prompt-tokens") && !values.given("messages")) {
      usage(command.name, "expected --prompt TEXT, --prompt-tokens, --messages FILE or --requests FILE, found none");
    }
    if (values.text("show") == "on" && (values.is_on("json") || values.given("requests"))) {
      usage(command.name, "--show on draws on standard output, where --json and --requests print their objects: leave one out");
    }
    if (values.is_on("show-steps") && !values.is_on("json") && !values.given("requests")) {
      usage(command.name, "--show-steps adds to the JSON output: give --json or --requests too");
    }
  }
  if (command.command == Command::kBatch && !values.given("status")) {
    if (!values.given("input") || (!values.given("output") && !values.is_on("dry-run"))) {
      usage(command.name, "expected -i FILE with the requests and -o FILE for the answers");
    }
    exclude("raw", "system", "a system message needs the chat template");
  }
  if (command.command == Command::kBench && !values.given("bench")) {
    usage(command.name, format("expected what to measure, {}, found none", allowed_values(*find_option("bench"))));
  }
  if (find_option("dtype")->commands.has(command.command) && values.text("dtype").find(',') != std::string::npos &&
      (command.command != Command::kBench || values.text("bench") != "quality")) {
    usage(command.name, format("--dtype: expected {}, found '{}'", allowed_values(*find_option("dtype")), values.text("dtype")));
  }
  if (command.command == Command::kPack) {
    if (!values.given("output") || values.text("dtype") == "f32") {
      usage(command.name, "expected --output FILE, and --dtype bf16, int8 or int4");
    }
  }
  if (command.command == Command::kLogits) {
    if (values.texts("prompt-tokens").size() != 1 || !values.given("output")) {
      usage(command.name, "expected one --prompt-tokens LIST and --output F.safetensors");
    }
  }
}

}  // namespace

std::optional<std::string> process_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::optional<std::string_view> nearest(std::string_view typed, const std::vector<std::string_view>& names) {
  std::optional<std::string_view> best;
  std::size_t least = typed.size() / 3 + 2;  // more changes than that, and it was not meant
  for (const std::string_view name : names) {
    const std::size_t distance = edit_distance(typed, name);
    if (distance < least || (typed.size() >= 3 && name.starts_with(typed) && !best)) {
      least = std::min(least, distance);
      best = name;
    }
  }
  return best;
}

Invocation parse_command_line(const std::vector<std::string>& arguments, const Environment& environment) {
  if (arguments.empty()) {
    usage("", "expected a command, found none");
  }
  const std::string& first = arguments.front();
  if (first == "--help" || first == "-h" || (first == "help" && arguments.size() == 1)) {
    return {.kind = Invocation::Kind::kHelp, .values = {}};
  }
  if (first == "--version") {
    return {.kind = Invocation::Kind::kVersion, .values = {}};
  }
  if (first == "help") {
    return {.kind = Invocation::Kind::kCommandHelp, .command = find_command(arguments[1]).command, .values = {}};
  }
  const CommandSpec& command = find_command(first);
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (std::ranges::count(rest, "--help") > 0 || std::ranges::count(rest, "-h") > 0) {
    return {.kind = Invocation::Kind::kCommandHelp, .command = command.command, .values = {}};
  }
  OptionValues values(merged(command, parse_arguments(command, with_subject(command, rest)), environment));
  check_combinations(command, values);
  return {.kind = Invocation::Kind::kRun, .command = command.command, .values = std::move(values)};
}

}  // namespace unmask::launcher
