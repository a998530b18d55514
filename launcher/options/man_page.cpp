// SPDX-License-Identifier: Apache-2.0
#include "launcher/options/man_page.h"

#include <algorithm>

#include "launcher/options/command_table.h"
#include "launcher/options/option_text.h"

namespace unmask::launcher {
namespace {

/// Text that roff takes as it is: minus signs stay minus signs, and no line is a request.
std::string escaped(std::string_view text) {
  std::string out;
  bool at_line_begin = true;
  for (const char c : text) {
    if (at_line_begin && (c == '.' || c == '\'')) {
      out += "\\&";
    }
    out += c == '\\' ? "\\e" : c == '-' ? "\\-" : std::string(1, c);
    at_line_begin = c == '\n';
  }
  return out;
}

std::string upper(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return out;
}

std::string header(std::string_view page, std::string_view version, std::string_view summary) {
  return format(".TH {} 1 \"\" \"unmask {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n", upper(page), version, escaped(page), escaped(summary));
}

std::string example(std::string_view text) { return format(".SH EXAMPLE\n.nf\n{}\n.fi\n", escaped(text)); }

std::string endings() {
  std::string out = ".SH EXIT STATUS\n";
  for (const ExitCodeText& code : exit_codes()) {
    out += format(".TP\n{}\n{}\n", code.code, escaped(code.text));
  }
  return out +
         ".SH ENVIRONMENT\nEvery option can also be given as UNMASK_NAME, \\-\\-gen\\-length as UNMASK_GEN_LENGTH (switches as on or off). It is "
         "read on the first rank, and the command line wins.\n";
}

}  // namespace

std::string program_man_page(std::string_view version) {
  std::string out = header("unmask", version, "run masked-diffusion language models with mixture-of-experts layers");
  out += ".SH SYNOPSIS\n.B unmask\n.I COMMAND\n[OPTIONS]\n.br\n.B mpirun \\-n\n.I RANKS\n.B unmask\n.I COMMAND\n[OPTIONS]\n";
  out += ".SH DESCRIPTION\nExperts are sharded over the ranks; the answers stay the same for any number of ranks. Results go to standard "
         "output, all else to standard error.\n.SH COMMANDS\n";
  std::string pages;
  for (const CommandSpec& spec : command_table()) {
    out += format(".TP\n.B {}\n{}\n", escaped(spec.name), escaped(spec.summary));
    pages += format("{}.BR unmask\\-{} (1)", pages.empty() ? "" : ",\n", escaped(spec.name));
  }
  return out + endings() + ".SH SEE ALSO\n" + pages + "\n";
}

std::string command_man_page(Command command, std::string_view version) {
  const CommandSpec& spec = spec_of(command);
  std::string out = header(format("unmask-{}", spec.name), version, spec.summary);
  out += format(".SH SYNOPSIS\n.B unmask {}{}\n[OPTIONS]\n.SH DESCRIPTION\n{}\n", escaped(spec.name), spec.subject.empty() ? "" : " NAME",
                escaped(spec.details));
  out += ".SH OPTIONS\n";
  for (const OptionGroup group : kOptionGroups) {
    std::string lines;
    for (const OptionSpec& option : option_table()) {
      if (option.group == group && option.commands.has(command)) {
        const std::string usage = usage_of(option);
        lines += format(".TP\n.B {}\n{}\n", escaped(std::string_view(usage).substr(usage.find_first_not_of(' '))),
                        escaped(description_of(option)));
      }
    }
    out += lines.empty() ? "" : format(".SS {}\n{}", escaped(title_of(group)), lines);
  }
  return out + endings() + example(spec.example) + ".SH SEE ALSO\n.BR unmask (1)\n";
}

}  // namespace unmask::launcher
