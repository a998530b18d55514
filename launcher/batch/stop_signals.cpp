// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/stop_signals.h"

#include <unistd.h>

#include <csignal>
#include <initializer_list>

#include "base/error.h"
#include "cluster/guard.h"

namespace unmask::launcher {
namespace {

// A signal handler can reach nothing but what lives at namespace scope.
constexpr int kNone = -1;
std::atomic<int> code_at_once = static_cast<int>(ExitCode::kStopped);  ///< of a process that a signal ends at once, or kNone
std::atomic<int> num_asked = 0;
std::atomic<int>* told_guard = nullptr;
static_assert(std::atomic<int>::is_always_lock_free, "else a handler must not touch it");

[[noreturn]] void end_at_once(int code) {
  int runs = static_cast<int>(cluster::GuardState::kRuns);
  told_guard->compare_exchange_strong(runs, static_cast<int>(cluster::GuardState::kSignalled));
  ::_exit(code);
}

extern "C" void ask_for_stop(int signal) {
  if (code_at_once.load() != kNone) {
    end_at_once(code_at_once.load());
  }
  if (num_asked.fetch_add(1) > 0) {
    end_at_once(128 + signal);
  }
}

}  // namespace

void install_stop_signals(std::atomic<int>& guard_state) {
  told_guard = &guard_state;
  struct sigaction action {};
  action.sa_handler = ask_for_stop;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    sigaction(signal, &action, nullptr);
  }
  action.sa_handler = SIG_IGN;  // a file at its limit is an error of write(), like a full disk
  sigaction(SIGXFSZ, &action, nullptr);
}

void now_requests_run() { code_at_once = kNone; }
void now_ends_with(int code) { code_at_once = code; }
bool stop_was_asked() { return num_asked.load() > 0; }

}  // namespace unmask::launcher
