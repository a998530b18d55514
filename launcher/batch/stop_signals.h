// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

namespace unmask::launcher {

/// What SIGUSR1, SIGTERM and SIGINT do in a batch job. While the model is loaded nothing can be lost: they end the process at
/// once, with "stopped, run me again" (75). While requests run, the first one asks for a stop at the end of a step, the second
/// ends the process at once with 128 + signal.
enum class StopPhase { kLoading, kRunning };

void install_stop_signals();
void enter_stop_phase(StopPhase phase);
bool stop_was_asked();

}  // namespace unmask::launcher
