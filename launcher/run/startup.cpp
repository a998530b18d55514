// SPDX-License-Identifier: Apache-2.0
#include "launcher/run/startup.h"

#include "base/byte_stream.h"
#include "launcher/generate/inputs.h"
#include "launcher/options/help.h"
#include "launcher/run/job.h"
#include "launcher/run/version.h"
#include "launcher/text/wire.h"

namespace unmask::launcher {
namespace {

ExitCode print(const Output& output, const std::string& text) {
  output.write(text);
  return ExitCode::kDone;
}

Startup parse(const std::vector<std::string>& arguments, const Output& output) {
  Startup out;
  try {
    out.invocation = parse_command_line(arguments, process_environment);
    switch (out.invocation.kind) {
      case Invocation::Kind::kHelp:
        out.ended = print(output, program_help());
        break;
      case Invocation::Kind::kCommandHelp:
        out.ended = print(output, command_help(out.invocation.command));
        break;
      case Invocation::Kind::kVersion:
        out.ended = print(output, version_text());
        break;
      case Invocation::Kind::kRun:
        if (out.invocation.command == Command::kGenerate ||
            (out.invocation.command == Command::kBench && out.invocation.values.given("requests"))) {
          out.inputs = read_inputs(out.invocation.values);
        }
        break;
    }
  } catch (const Error& error) {
    if (*error.what() != '\0') {
      tell(error.what());
    }
    out.ended = error.code();
  }
  return out;
}

}  // namespace

Startup start_up(comm::Communicator& comm, const std::vector<std::string>& arguments, const Output& output) {
  Startup mine;
  if (comm.is_root()) {
    mine = parse(arguments, output);
  }
  ByteWriter head;
  head.put(std::uint8_t{mine.ended.has_value()}).put(mine.ended.value_or(ExitCode::kDone)).put(mine.invocation.command);
  const auto bytes = comm.broadcast(head.take(), Rank(0));
  const auto values = comm.broadcast(pack(mine.invocation.values.all_given()), Rank(0));
  if (!comm.is_root()) {
    ByteReader reader(bytes);
    const bool ended = reader.get<std::uint8_t>() != 0;
    const auto code = reader.get<ExitCode>();
    if (ended) {
      mine.ended = code;
    }
    mine.invocation.command = reader.get<Command>();
    mine.invocation.values = OptionValues(unpack_values(values));
  }
  return mine;
}

}  // namespace unmask::launcher
