// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

namespace unmask::launcher {

struct TerminalSize {
  int columns = 80;
  int rows = 24;
};

/// What the terminal on standard output says, else COLUMNS and LINES, else 80 x 24 (a pseudo-terminal of mpirun says 0 x 0).
TerminalSize terminal_size();

/// Whether standard output is a real terminal that can be drawn on: it has a size, TERM is set, and not "dumb".
bool can_draw();

/// Makes SIGINT, SIGTERM and SIGHUP end the process with 128 + signal, after giving back the cursor and the colours of a
/// terminal that is being drawn on, and after telling the guard through its state.
void install_signal_handlers(std::atomic<int>& guard_state);
void ignore_broken_pipes();

/// Where a standard descriptor is closed, the next file or socket opened would get its number, and with it our output.
void hold_standard_descriptors();

/// From construction to destruction somebody draws on standard output.
class DrawingScope {
 public:
  DrawingScope();
  ~DrawingScope();
  DrawingScope(const DrawingScope&) = delete;
  DrawingScope& operator=(const DrawingScope&) = delete;
};

}  // namespace unmask::launcher
