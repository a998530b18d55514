// SPDX-License-Identifier: Apache-2.0
#include "launcher/run/safety.h"

#include <algorithm>

#include "base/error.h"

namespace unmask::launcher {
namespace {

constexpr double kUsualSeconds = 60;
constexpr double kMinStartSeconds = 5;  // of a live rank that waits in MPI_Init for others, which a busy host may start slowly
constexpr double kEndFactor = 10;
constexpr double kGuardSeconds = 2;

using Limits = cluster::Guard::Limits;

Limits limits(comm::Deadline deadline, double silent_seconds, double stopped_seconds) {
  using Seconds = cluster::Guard::Seconds;
  return deadline.limit.count() == 0 ? Limits{} : Limits{.silent = Seconds(silent_seconds), .stopped = Seconds(stopped_seconds)};
}

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

Limits limits_at_start(comm::Deadline deadline) {
  const double watchdog = deadline.limit.count();
  return limits(deadline, std::max(watchdog, kMinStartSeconds), watchdog);
}
Limits limits_of(comm::Deadline deadline) {
  const double watchdog = deadline.limit.count();
  return limits(deadline, watchdog + kGuardSeconds, watchdog + kGuardSeconds);
}
Limits limits_at_end(comm::Deadline deadline) {
  const double watchdog = deadline.limit.count();
  return limits(deadline, kEndFactor * watchdog, watchdog + kGuardSeconds);
}

}  // namespace unmask::launcher
