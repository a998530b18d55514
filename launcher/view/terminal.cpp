// SPDX-License-Identifier: Apache-2.0
#include "launcher/view/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <initializer_list>
#include <string_view>

#include "cluster/guard.h"

namespace unmask::launcher {
namespace {

// A signal handler can reach nothing but what lives at namespace scope.
volatile std::sig_atomic_t drawing = 0;
std::atomic<int>* told_guard = nullptr;

extern "C" void end_by_signal(int signal) {
  if (drawing != 0) {
    constexpr char kRestore[] = "\x1b[0m\x1b[?25h\n";
    [[maybe_unused]] const ssize_t n = ::write(STDOUT_FILENO, kRestore, sizeof kRestore - 1);
  }
  int runs = static_cast<int>(cluster::GuardState::kRuns);
  told_guard->compare_exchange_strong(runs, static_cast<int>(cluster::GuardState::kSignalled));
  ::_exit(128 + signal);
}

int number_from(const char* variable) {
  const char* text = std::getenv(variable);
  const long value = text == nullptr ? 0 : std::strtol(text, nullptr, 10);
  return value > 0 && value < 10000 ? static_cast<int>(value) : 0;
}

}  // namespace

TerminalSize terminal_size() {
  TerminalSize size;
  winsize reported{};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &reported) == 0;
  const int columns = known && reported.ws_col > 0 ? reported.ws_col : number_from("COLUMNS");
  const int rows = known && reported.ws_row > 0 ? reported.ws_row : number_from("LINES");
  size.columns = columns > 0 ? columns : size.columns;
  size.rows = rows > 0 ? rows : size.rows;
  return size;
}

bool can_draw() {
  const char* term = std::getenv("TERM");
  winsize reported{};  // 0 columns: mpirun's pseudo-terminal, behind which there may be a file
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &reported) == 0 && reported.ws_col > 0 && term != nullptr && *term != '\0' &&
         std::string_view(term) != "dumb";
}

void install_signal_handlers(std::atomic<int>& guard_state) {
  told_guard = &guard_state;
  struct sigaction action {};
  action.sa_handler = end_by_signal;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    sigaction(signal, &action, nullptr);
  }
}

void ignore_broken_pipes() { std::signal(SIGPIPE, SIG_IGN); }

void hold_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) < 0) {  // open() takes the lowest free number; the wrong direction keeps it unusable
      [[maybe_unused]] const int held = ::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
  }
}

DrawingScope::DrawingScope() { drawing = 1; }
DrawingScope::~DrawingScope() { drawing = 0; }

}  // namespace unmask::launcher
