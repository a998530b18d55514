// SPDX-License-Identifier: Apache-2.0
#include "launcher/options/help.h"

#include <utility>

#include "launcher/options/command_table.h"

namespace unmask::launcher {
namespace {

constexpr std::size_t kWidth = 100;
constexpr std::size_t kColumn = 30;  ///< where descriptions begin

/// Appends `text` broken between words at kWidth, continuation lines indented to kColumn; `used` columns are taken already.
void append_wrapped(std::string& out, std::size_t used, std::string_view text) {
  if (used + 2 > kColumn) {
    out += '\n';
    used = 0;
  }
  out.append(kColumn - used, ' ');
  std::size_t column = kColumn;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (column > kColumn && column + 1 + end > kWidth) {
      out += '\n';
      out.append(kColumn, ' ');
      column = kColumn;
    } else if (column > kColumn) {
      out += ' ';
      ++column;
    }
    out += text.substr(0, end);
    column += end;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  out += '\n';
}

std::string_view title(OptionGroup group) {
  switch (group) {
    case OptionGroup::kModel:
      return "Model";
    case OptionGroup::kInput:
      return "Input";
    case OptionGroup::kSampling:
      return "Sampling (in a line of --requests the same names with underscores)";
    case OptionGroup::kOutput:
      return "Output";
    case OptionGroup::kMachine:
      return "Machine";
  }
  return "";
}

std::string left_side(const OptionSpec& spec) {
  std::string out = format("  {}--{}", spec.letter == 0 ? "" : format("-{}, ", spec.letter), spec.name);
  if (spec.kind == ValueKind::kOnOff) {
    out += " on|off";
  } else if (!spec.choices.empty()) {
    out += format(" {}", spec.choices);
  } else if (spec.kind != ValueKind::kFlag) {
    out += format(" {}", spec.value);
  }
  return out;
}

std::string range(const OptionSpec& spec) {
  if (spec.kind == ValueKind::kInteger) {
    return spec.max < (std::uint64_t{1} << 31) - 1 ? format("{} to {}", spec.min, spec.max) : format("{} or more", spec.min);
  }
  return spec.kind == ValueKind::kReal ? format("0 to {}", spec.max_real) : "";
}

std::string description(const OptionSpec& spec) {
  std::string notes = range(spec);
  const auto add = [&](const std::string& note) { notes += (notes.empty() ? "" : "; ") + note; };
  if (spec.repeat == Repeat::kCollects) {
    add("repeatable");
  }
  if (!spec.fallback_note.empty()) {
    add(format("default: {}", spec.fallback_note));
  } else if (!spec.fallback.empty()) {
    add(format("default {}", spec.fallback));
  }
  return notes.empty() ? std::string(spec.help) : format("{} [{}]", spec.help, notes);
}

}  // namespace

std::string program_help() {
  std::string out =
      "unmask runs masked-diffusion language models with mixture-of-experts layers, on one machine or on many.\n\n"
      "Usage: unmask COMMAND [OPTIONS]\n"
      "       mpirun -n RANKS unmask COMMAND [OPTIONS]      experts are sharded over the ranks; the answers stay the same\n\n"
      "Commands:\n";
  for (const CommandSpec& spec : command_table()) {
    out += format("  {:<11} {}\n", spec.name, spec.summary);
  }
  out +=
      "\n'unmask COMMAND --help' shows a command's options, --version the build.\n\n"
      "Examples:\n"
      "  unmask generate --model models/demo --prompt 'Sort the letters: e x j c' --gen-length 48\n"
      "  mpirun -n 4 unmask generate --model DIR --requests questions.jsonl > answers.jsonl\n"
      "  unmask info --model DIR --ranks 8\n\n"
      "Environment: every option can also be given as UNMASK_NAME, e.g. --gen-length as UNMASK_GEN_LENGTH (switches as\n"
      "on|off). It is read on the first rank, and the command line wins.\n\n"
      "Results go to standard output, all else to standard error. Exit codes:\n"
      "   0  done                                    4  a peer was lost, or a wait took too long\n"
      "   2  wrong command line                      5  finished, but some requests of --requests failed\n"
      "   3  a model or an input cannot be used      6  input/output failed (disk full)\n"
      "                                          70  a bug of unmask: please report it\n";
  return out;
}

std::string command_help(Command command) {
  const CommandSpec& spec = spec_of(command);
  std::string out = format("Usage: unmask {}{} [OPTIONS]\n\n{}: {}.\n\n{}\n\nExample:\n  {}\n", spec.name, spec.subject.empty() ? "" : " NAME", spec.name, spec.summary,
                           spec.details, spec.example);
  for (const OptionGroup group : {OptionGroup::kModel, OptionGroup::kInput, OptionGroup::kSampling, OptionGroup::kOutput,
                                  OptionGroup::kMachine}) {
    std::string lines;
    for (const OptionSpec& option : option_table()) {
      if (option.group == group && option.commands.has(command)) {
        const std::string left = left_side(option);
        lines += left;
        append_wrapped(lines, left.size(), description(option));
      }
    }
    if (!lines.empty()) {
      out += format("\n{}:\n{}", title(group), lines);
    }
  }
  out += "\nEvery option can also be given in the environment: --log-level as UNMASK_LOG_LEVEL; the command line wins.\n";
  return out;
}

}  // namespace unmask::launcher
