// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/stop_signals.h"

#include <unistd.h>

#include <csignal>
#include <initializer_list>

#include "base/error.h"

namespace unmask::launcher {
namespace {

// A signal handler can reach nothing but what lives at namespace scope.
std::atomic<int> phase = static_cast<int>(StopPhase::kLoading);
std::atomic<int> num_asked = 0;
static_assert(std::atomic<int>::is_always_lock_free, "else a handler must not touch it");

extern "C" void ask_for_stop(int signal) {
  if (phase.load() == static_cast<int>(StopPhase::kLoading)) {
    ::_exit(static_cast<int>(ExitCode::kStopped));
  }
  if (num_asked.fetch_add(1) > 0) {
    ::_exit(128 + signal);
  }
}

}  // namespace

void install_stop_signals() {
  struct sigaction action {};
  action.sa_handler = ask_for_stop;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    sigaction(signal, &action, nullptr);
  }
}

void enter_stop_phase(StopPhase next) { phase = static_cast<int>(next); }
bool stop_was_asked() { return num_asked.load() > 0; }

}  // namespace unmask::launcher
