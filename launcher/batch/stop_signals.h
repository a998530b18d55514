// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

namespace unmask::launcher {

/// What SIGUSR1, SIGTERM and SIGINT do in a batch job; the guard hears through its state when they end the process. While the model is loaded nothing can be lost: they end the process at
/// once, with "stopped, run me again" (75). While requests run, the first one asks for a stop at the end of a step, the second
/// ends the process at once with 128 + signal. Once the end is known and all is on disk, a signal ends the process with the
/// job's code: srun --kill-on-bad-exit sends SIGTERM to the ranks that are still shutting down when the first one has exited.
void install_stop_signals(std::atomic<int>& guard_state);
void now_requests_run();
void now_ends_with(int code);
bool stop_was_asked();

}  // namespace unmask::launcher
