// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <cstdint>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "cluster/guard.h"
#include "comm/mpi/session.h"
#include "comm/threads/thread_world.h"
#include "launcher/batch/stop_signals.h"
#include "launcher/commands/commands.h"
#include "launcher/run/safety.h"
#include "launcher/run/startup.h"
#include "launcher/view/terminal.h"

namespace unmask::launcher {
namespace {

constexpr int kBug = 70;  ///< EX_SOFTWARE: an invariant of ours broke

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
    case Command::kPack:
      return run_pack(job);
    case Command::kTokenize:
      return job.comm.is_root() ? run_tokenize(job) : ExitCode::kDone;
    case Command::kDetokenize:
      return job.comm.is_root() ? run_detokenize(job) : ExitCode::kDone;
    case Command::kInfo:
      return run_info(job);
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

/// What this rank did last, after the line that says what went wrong: a few operations here, all of them in a file.
void tell_last_operations(const comm::Communicator& comm, const cluster::RankRecord& record) {
  constexpr std::uint64_t kTold = 4;
  std::istringstream lines(cluster::last_operations(record, kTold));
  for (std::string line; std::getline(lines, line);) {
    tell_of(comm, format("  {}", line));
  }
  tell_of(comm, format("this rank ends{}", cluster::write_log(record)));
}

/// The exit code of a part of one rank's run. What the ranks cannot agree upon ends the job here.
int run_part(comm::Communicator& comm, cluster::Guard& guard, const std::function<int()>& part) {
  int code = kBug;
  try {
    return part();
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
    const bool of_ranks = comm.transport() == "threads";
    if (code == static_cast<int>(ExitCode::kPeerLost) || code == kBug) {
      tell_last_operations(comm, guard.record(of_ranks ? comm.rank().at() : 0));
    }
    guard.state().store(static_cast<int>(cluster::GuardState::kFails));
    comm.abort(code);
  }
  return code;
}

int run_rank(comm::Communicator& comm, cluster::Guard& guard, const Startup& startup) {
  const Output output([&] { comm.works(); });
  const Logger log = make_logger(comm, startup.invocation.values);
  const Job job{comm, startup.invocation, startup.inputs, output, log};
  comm.set_deadline(deadline_of(startup.invocation));
  if (startup.invocation.values.is_on("verify-messages")) {
    comm.set_verification(comm::Verification::kOn);
  }
  return run_part(comm, guard, [&] { return static_cast<int>(run_command(job)); });
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

int run_on_threads(std::int64_t ranks, cluster::Guard& guard, const Startup& startup) {
  comm::threads::ThreadWorld world(ranks, deadline_of(startup.invocation), guard.records());
  int code = 0;
  world.run([&](comm::Communicator& comm) {
    const int mine = run_rank(comm, guard, startup);
    if (comm.is_root()) {
      code = mine;
    }
  });
  return code;
}

/// The part of run() that knows what is to be done.
int run_invocation(comm::Communicator& world, cluster::Guard& guard, const Startup& startup) {
  const Command command = startup.invocation.command;
  const OptionValues& options = startup.invocation.values;
  if (!find_option("transport")->commands.has(command)) {
    return run_rank(world, guard, startup);
  }
  std::int64_t ranks = 0;
  try {
    ranks = num_thread_ranks(options.text("transport"));
    require(ranks == 0 || world.num_ranks() == 1, ExitCode::kUsage,
            "--transport threads:N runs its ranks inside one process, found {} processes: start it without mpirun, or leave the "
            "option out",
            world.num_ranks());
    if (ranks > 0) {
      return run_on_threads(ranks, guard, startup);
    }
  } catch (const Error& error) {  // the same on every rank: it hangs on options alone
    if (world.is_root()) {
      tell(error.what());
    }
    return static_cast<int>(error.code());
  }
  return run_rank(world, guard, startup);
}

int run(comm::mpi::Session& session, cluster::Guard& guard, const std::vector<std::string>& arguments) {
  const comm::Deadline early = early_deadline(arguments);
  const auto world = session.world(early, &guard.record(0));
  guard.record(0).wait_for("");
  guard.set_limits(limits_of(early));
  Startup startup;
  int code = run_part(*world, guard, [&] {
    startup = start_up(*world, arguments, Output([&] { world->works(); }));
    return 0;
  });
  if (startup.ended) {
    code = static_cast<int>(*startup.ended);
  } else if (code == 0) {
    guard.set_limits(limits_of(deadline_of(startup.invocation)));
    code = run_invocation(*world, guard, startup);
  }
  guard.set_limits(limits_at_end(early));
  return code;
}

}  // namespace
}  // namespace unmask::launcher

int main(int argc, char** argv) {
  using namespace unmask;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  launcher::hold_standard_descriptors();
  launcher::ignore_broken_pipes();
  try {
    cluster::Guard guard(launcher::limits_at_start(launcher::early_deadline(arguments)));
    guard.record(0).wait_for("in MPI_Init, for ranks that have not come");
    launcher::install_signal_handlers(guard.state());
    if (!arguments.empty() && arguments.front() == "batch") {
      launcher::install_stop_signals(guard.state());
    }
    comm::mpi::Session session(&argc, &argv);
    return launcher::run(session, guard, arguments);
  } catch (const Error& error) {
    launcher::tell(error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    launcher::tell(error.what());
    return launcher::kBug;
  }
}
