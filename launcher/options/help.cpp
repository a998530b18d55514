// SPDX-License-Identifier: Apache-2.0
#include "launcher/options/help.h"

#include <utility>

#include "launcher/options/command_table.h"
#include "launcher/options/option_text.h"

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
      "Results go to standard output, all else to standard error. Exit codes:\n";
  for (const ExitCodeText& code : exit_codes()) {
    out += format("  {:>2}  {}\n", code.code, code.text);
  }
  return out;
}

std::string command_help(Command command) {
  const CommandSpec& spec = spec_of(command);
  std::string out = format("Usage: unmask {}{} [OPTIONS]\n\n{}: {}.\n\n{}\n\nExample:\n  {}\n", spec.name, spec.subject.empty() ? "" : " NAME", spec.name, spec.summary,
                           spec.details, spec.example);
  for (const OptionGroup group : kOptionGroups) {
    std::string lines;
    for (const OptionSpec& option : option_table()) {
      if (option.group == group && option.commands.has(command)) {
        const std::string left = usage_of(option);
        lines += left;
        append_wrapped(lines, left.size(), description_of(option));
      }
    }
    if (!lines.empty()) {
      out += format("\n{}:\n{}", title_of(group), lines);
    }
  }
  out += "\nEvery option can also be given in the environment: --log-level as UNMASK_LOG_LEVEL; the command line wins.\n";
  return out;
}

}  // namespace unmask::launcher
