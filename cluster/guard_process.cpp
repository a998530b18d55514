// SPDX-License-Identifier: Apache-2.0
#include "cluster/guard_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <optional>
#include <vector>

#include "base/format.h"
#include "cluster/launcher_end.h"
#include "cluster/process_facts.h"

namespace unmask::cluster {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kTick = 100ms;
constexpr auto kAskGrace = 300ms;
constexpr auto kFarewell = 2s;  // for a process that fails to take the job down; MPI_Abort may hang
// For mpirun to see that a rank has died, and to end all others; it needs some 2 s where one is stopped.
constexpr std::chrono::milliseconds kMinLauncherGrace = 2500ms;
constexpr std::chrono::milliseconds kMaxLauncherGrace = 15s;

/// What a guard must not hold open: who reads the rank's output waits for its end.
void let_go(std::initializer_list<int> descriptors) {
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int descriptor : descriptors) {
    ::dup2(nothing, descriptor);
  }
  ::close(nothing);
}

void close_others(int kept) {
  std::vector<int> open;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const std::string name = entry.path().filename();
    int descriptor = 0;
    std::from_chars(name.data(), name.data() + name.size(), descriptor);
    open.push_back(descriptor);
  }
  for (const int descriptor : open) {
    if (descriptor > STDERR_FILENO && descriptor != kept) {
      ::close(descriptor);
    }
  }
}

class GuardProcess {
 public:
  GuardProcess(GuardBoard& board, const Watched& watched)
      : board_(board), watched_(watched), launcher_(find_launcher(watched.rank)) {}

  [[noreturn]] void run() {
    while (true) {
      rest();
      if (::getppid() != watched_.rank) {
        after_death();
      }
      if (launcher_ && !is_alive(*launcher_)) {
        end_rank(format("its launcher ({}, process {}) is gone", launcher_->name, launcher_->id));
      }
      if (state() == GuardState::kFails ? silence_ > kFarewell : is_over(silence_, board_.silence_ms)) {
        end_rank(what_it_did());
      }
      if (is_over(stopped_, board_.stopped_ms)) {
        end_rank(format("stopped by a signal for {:.1f} s", seconds(stopped_)));
      }
    }
  }

 private:
  static double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }
  static bool is_over(Clock::duration time, const std::atomic<std::int64_t>& limit_ms) {
    const std::chrono::milliseconds limit(limit_ms.load());
    return limit.count() > 0 && time > limit;
  }
  GuardState state() const { return static_cast<GuardState>(board_.state.load()); }

  /// One tick, of which only what this process was awake for counts as silence.
  void rest() {
    pollfd gone{.fd = watched_.socket, .events = POLLIN, .revents = 0};
    ::poll(&gone, 1, static_cast<int>(std::chrono::milliseconds(kTick).count()));
    if (gone.revents != 0 && ::getppid() == watched_.rank) {
      if (state() == GuardState::kEnds) {
        ::_exit(0);  // it takes leave, and waits for this
      }
      std::this_thread::sleep_for(1ms);  // it is about to be gone
    }
    const auto now = Clock::now();
    const auto awake = std::min<Clock::duration>(now - last_tick_, 10 * kTick);
    last_tick_ = now;
    const Activity activity = activity_of(watched_.rank);
    stopped_ = activity.is_stopped() ? stopped_ + awake : Clock::duration{};
    const std::uint64_t pulse = pulse_of(activity);
    silence_ = pulse == pulse_ ? silence_ + awake : Clock::duration{};
    pulse_ = pulse;
  }

  std::uint64_t pulse_of(const Activity& activity) const {
    std::uint64_t pulse = 0;
    for (const RankRecord& record : board_.ranks) {
      if (record.host[0] == '\0') {
        break;
      }
      pulse += record.pulse.load(std::memory_order_relaxed);
    }
    if (pulse == 0) {
      pulse = activity.page_faults;  // it starts, and MPI_Init shows nothing else
    }
    return pulse + static_cast<std::uint64_t>(board_.state.load());  // a farewell has a limit of its own
  }

  std::string what_it_did() const {
    const RankRecord& record = board_.ranks[0];
    if (stopped_.count() == 0 && record.waits[0] != '\0') {
      return format("waited {:.1f} s {}", seconds(silence_), record.waits.data());
    }
    return format("no progress for {:.1f} s, {}", seconds(silence_), stopped_.count() > 0 ? "stopped by a signal" : "not stopped");
  }

  void tell(const std::string& what) {
    const std::string line = format("unmask: {}: {}{}\n", who(board_.ranks[0]), what,
                                    board_.ranks[0].num_notes > 0 ? write_log(board_.ranks[0]) : "");
    [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
  }

  [[noreturn]] void end_rank(const std::string& why) {
    if (state() == GuardState::kRuns) {
      tell(why + ": its guard ends it");
      ask_to_end();
    }
    ::kill(watched_.rank, SIGKILL);
    end_job();
  }

  /// A process that hangs or was stopped can still give an exit code: the thread that watches its guard does.
  void ask_to_end() const {
    ::send(watched_.socket, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    ::kill(watched_.rank, SIGCONT);
    for (const auto end = Clock::now() + kAskGrace; ::getppid() == watched_.rank && Clock::now() < end;) {
      std::this_thread::sleep_for(5ms);
    }
  }

  [[noreturn]] void after_death() {
    if (state() == GuardState::kEnds) {
      ::_exit(0);
    }
    if (state() == GuardState::kRuns) {
      tell("ended without a word: killed from outside, out of memory, a crash, or what the MPI library said above");
    }
    end_job();
  }

  /// The job is lost. A daemon (orted) may serve other jobs, and srun is Slurm's: those are left alone.
  [[noreturn]] void end_job() {
    let_go({STDERR_FILENO});
    if (launcher_ && launcher_->serves_one_job()) {
      const std::chrono::milliseconds limit(board_.stopped_ms.load());
      end_launcher(*launcher_, limit.count() > 0 ? std::clamp(limit / 4, kMinLauncherGrace, kMaxLauncherGrace) : kMaxLauncherGrace);
    }
    ::_exit(0);
  }

  GuardBoard& board_;
  Watched watched_;
  std::optional<Process> launcher_;
  Clock::time_point last_tick_ = Clock::now();
  Clock::duration silence_{};
  Clock::duration stopped_{};
  std::uint64_t pulse_ = 0;
};

}  // namespace

void run_guard_process(GuardBoard& board, const Watched& watched) {
  ::prctl(PR_SET_NAME, "unmask-guard");
  ::setsid();  // Open MPI kills a rank's whole process group
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGTSTP, SIGTTOU}) {
    ::signal(signal, SIG_IGN);  // they are meant for the rank; a guard ends when its rank has
  }
  let_go({STDIN_FILENO, STDOUT_FILENO});
  close_others(watched.socket);
  GuardProcess(board, watched).run();
}

}  // namespace unmask::cluster
