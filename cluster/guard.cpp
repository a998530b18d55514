// SPDX-License-Identifier: Apache-2.0
#include "cluster/guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "cluster/guard_process.h"
#include "cluster/process_facts.h"

namespace unmask::cluster {
namespace {

std::int64_t milliseconds(Guard::Seconds limit) { return std::chrono::duration_cast<std::chrono::milliseconds>(limit).count(); }

/// What launchers say before MPI does, so that a rank that is lost in MPI_Init has a name.
void introduce_from_environment(RankRecord& record) {
  std::array<char, 64> host{};
  ::gethostname(host.data(), host.size() - 1);
  record.introduce(launched_rank().value_or(0), host.data());
}

/// Zero pages: nothing of the records is resident before it is used.
GuardBoard* map_board() {
  void* memory = ::mmap(nullptr, sizeof(GuardBoard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  require(memory != MAP_FAILED, ExitCode::kBadInput, "{} bytes of shared memory cannot be had: {}", sizeof(GuardBoard),
          std::strerror(errno));
  return static_cast<GuardBoard*>(memory);
}

}  // namespace

Guard::Guard(const Limits& limits) : board_(map_board()) {
  set_limits(limits);
  introduce_from_environment(board_->ranks[0]);
  name_ = who(board_->ranks[0]);
  std::array<int, 2> ends{};
  const pid_t me = ::getpid();
  require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0 && (guard_ = ::fork()) >= 0, ExitCode::kBadInput,
          "a guard process cannot be started: {}: allow this user more processes and open files", std::strerror(errno));
  if (guard_ == 0) {
    ::close(ends[0]);
    run_guard_process(*board_, {.rank = me, .socket = ends[1]});
  }
  ::close(ends[1]);
  socket_ = ends[0];
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // the watcher inherits it: signals are for the main thread
  watcher_ = std::thread([this] { watch_guard(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/// Reading ends when the guard has died, or when this side is shut down; a byte says that the guard has told why this process ends.
void Guard::watch_guard() {
  char byte = 0;
  ssize_t got = 0;
  while ((got = ::read(socket_, &byte, 1)) < 0 && errno == EINTR) {
  }
  if (got > 0) {
    ::_exit(static_cast<int>(ExitCode::kPeerLost));
  }
  if (board_->state.load() == static_cast<int>(GuardState::kRuns)) {
    const std::string line = format("unmask: {}: its guard process {} was ended from outside, so this rank ends\n", name_, guard_);
    [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
    ::_exit(static_cast<int>(ExitCode::kPeerLost));
  }
}

Guard::~Guard() {
  board_->state.store(static_cast<int>(GuardState::kEnds));
  ::shutdown(socket_, SHUT_RDWR);
  watcher_.join();
  ::close(socket_);
  for (int tries = 0; ::waitpid(guard_, nullptr, WNOHANG) == 0; ++tries) {
    if (tries == 1000) {
      ::kill(guard_, SIGKILL);  // it is stopped
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ::munmap(board_, sizeof(GuardBoard));
}

void Guard::set_limits(const Limits& limits) {
  board_->silence_ms.store(milliseconds(limits.silent));
  board_->stopped_ms.store(milliseconds(limits.stopped));
}

}  // namespace unmask::cluster
