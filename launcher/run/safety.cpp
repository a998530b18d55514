// SPDX-License-Identifier: Apache-2.0
#include "launcher/run/safety.h"

#include "base/error.h"

namespace unmask::launcher {
namespace {

constexpr double kUsualSeconds = 60;
constexpr double kEndsFactor = 10;   // hosts start one after another, and MPI_Init shows no progress
constexpr double kGuardSeconds = 2;

}  // namespace

comm::Deadline deadline_of(const Invocation& invocation) {
  const bool has_one = find_option("watchdog")->commands.has(invocation.command);
  return {std::chrono::duration<double>(has_one ? invocation.values.real("watchdog") : 0.0)};
}

comm::Deadline early_deadline(const std::vector<std::string>& arguments) {
  try {
    return deadline_of(parse_command_line(arguments, process_environment));
  } catch (const Error&) {
    return {std::chrono::duration<double>(kUsualSeconds)};  // rank 0 will say what is wrong
  }
}

cluster::Guard::Seconds limit_at_the_ends(comm::Deadline deadline) { return kEndsFactor * deadline.limit; }

cluster::Guard::Seconds limit_of(comm::Deadline deadline) {
  return deadline.limit.count() > 0 ? deadline.limit + cluster::Guard::Seconds(kGuardSeconds) : cluster::Guard::Seconds(0);
}

cluster::Guard::Seconds limit_of(const Invocation& invocation) {
  // A benchmark's measurements are its own: it shows no progress while one lasts.
  return invocation.command == Command::kBench ? cluster::Guard::Seconds(0) : limit_of(deadline_of(invocation));
}

}  // namespace unmask::launcher
