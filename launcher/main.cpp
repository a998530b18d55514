// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <exception>
#include <string>
#include <vector>

#include "comm/mpi/session.h"
#include "comm/threads/thread_world.h"
#include "launcher/batch/stop_signals.h"
#include "launcher/commands/commands.h"
#include "launcher/run/startup.h"
#include "launcher/view/terminal.h"

namespace unmask::launcher {
namespace {

constexpr int kBug = 70;  ///< EX_SOFTWARE: an invariant of ours broke

/// Until the weights are there: ranks read at different speeds, and rank 0 may be reading requests from a slow pipe.
constexpr comm::Deadline kStartupDeadline{std::chrono::hours(1)};

ExitCode run_command(const Job& job) {
  switch (job.invocation.command) {
    case Command::kGenerate:
      return run_generate(job);
    case Command::kLogits:
      return run_logits(job);
    case Command::kCheck:
      return run_check(job);
    case Command::kBatch:
      return run_batch(job);
    case Command::kBench:
      return run_bench(job);
    case Command::kTokenize:
      return job.comm.is_root() ? run_tokenize(job) : ExitCode::kDone;
    case Command::kDetokenize:
      return job.comm.is_root() ? run_detokenize(job) : ExitCode::kDone;
    case Command::kInfo:
      return job.comm.is_root() ? run_info(job) : ExitCode::kDone;
  }
  return ExitCode::kUsage;
}

Logger make_logger(const comm::Communicator& comm, const OptionValues& options) {
  const std::string level = options.text("log-level");
  const bool heard = comm.is_root() || options.text("log-ranks") == "all";
  LogLevel parsed = LogLevel::kInfo;
  for (const auto& [name, value] : {std::pair{"debug", LogLevel::kDebug}, std::pair{"warning", LogLevel::kWarning},
                                    std::pair{"error", LogLevel::kError}, std::pair{"off", LogLevel::kOff}}) {
    parsed = level == name ? value : parsed;
  }
  return Logger({.level = heard ? parsed : LogLevel::kOff, .rank = comm.rank().value, .host = comm.host()});
}

void tell_of(const comm::Communicator& comm, std::string_view message) {
  if (message.empty()) {
    return;  // the reader of standard output went away: nobody is there to be told
  }
  tell(comm.num_ranks() == 1 ? std::string(message) : format("rank {} host {}: {}", comm.rank(), comm.host(), message));
}

/// One rank from start to end; its exit code. What the ranks cannot agree upon ends the job here.
int run_rank(comm::Communicator& comm, const Startup& startup) {
  const Output output;
  const Logger log = make_logger(comm, startup.invocation.values);
  const Job job{comm, startup.invocation, startup.inputs, output, log};
  int code = kBug;
  try {
    return static_cast<int>(run_command(job));
  } catch (const AgreedError& error) {
    if (comm.is_root()) {
      tell(error.what());  // names the rank itself
    }
    return static_cast<int>(error.code());
  } catch (const Error& error) {
    tell_of(comm, error.what());
    code = static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    tell_of(comm, "there is not enough memory on this host: use more ranks on more hosts, or shorter requests");
    code = static_cast<int>(ExitCode::kBadInput);
  } catch (const std::exception& error) {
    tell_of(comm, format("a bug of unmask, please report it: {}", error.what()));
  }
  if (comm.num_ranks() > 1) {
    comm.abort(code);
  }
  return code;
}

/// N of "threads:N"; 0 for mpi.
std::int64_t num_thread_ranks(const std::string& transport) {
  if (transport == "mpi") {
    return 0;
  }
  constexpr std::string_view kPrefix = "threads:";
  std::int64_t ranks = 0;
  const auto [end, error] = std::from_chars(transport.data() + std::min(kPrefix.size(), transport.size()),
                                            transport.data() + transport.size(), ranks);
  require(transport.starts_with(kPrefix) && error == std::errc() && end == transport.data() + transport.size() && ranks >= 1,
          ExitCode::kUsage, "--transport: expected mpi or threads:N with N from 1, found '{}'", transport);
  return ranks;
}

int run_on_threads(std::int64_t ranks, const Startup& startup) {
  comm::threads::ThreadWorld world(ranks, kStartupDeadline);
  int code = 0;
  world.run([&](comm::Communicator& comm) {
    const int mine = run_rank(comm, startup);
    if (comm.is_root()) {
      code = mine;
    }
  });
  return code;
}

int run(comm::mpi::Session& session, const std::vector<std::string>& arguments) {
  const auto world = session.world(kStartupDeadline);
  const Startup startup = start_up(*world, arguments, Output());
  if (startup.ended) {
    return static_cast<int>(*startup.ended);
  }
  const Command command = startup.invocation.command;
  const OptionValues& options = startup.invocation.values;
  if (!find_option("transport")->commands.has(command)) {
    return run_rank(*world, startup);
  }
  std::int64_t ranks = 0;
  try {
    ranks = num_thread_ranks(options.text("transport"));
    require(ranks == 0 || world->num_ranks() == 1, ExitCode::kUsage,
            "--transport threads:N runs its ranks inside one process, found {} processes: start it without mpirun, or leave the "
            "option out",
            world->num_ranks());
    if (ranks > 0) {
      return run_on_threads(ranks, startup);
    }
  } catch (const Error& error) {  // the same on every rank: it hangs on options alone
    if (world->is_root()) {
      tell(error.what());
    }
    return static_cast<int>(error.code());
  }
  return run_rank(*world, startup);
}

}  // namespace
}  // namespace unmask::launcher

int main(int argc, char** argv) {
  using namespace unmask;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  launcher::hold_standard_descriptors();
  launcher::install_signal_handlers();
  if (!arguments.empty() && arguments.front() == "batch") {
    launcher::install_stop_signals();
  }
  try {
    comm::mpi::Session session(&argc, &argv);
    return launcher::run(session, arguments);
  } catch (const Error& error) {
    launcher::tell(error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    launcher::tell(error.what());
    return launcher::kBug;
  }
}
