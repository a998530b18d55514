// SPDX-License-Identifier: Apache-2.0
#include "cluster/launcher_end.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <system_error>
#include <thread>

#include "base/format.h"

namespace unmask::cluster {
namespace {

using namespace std::chrono_literals;

constexpr auto kStepGrace = 700ms;

bool is_gone_within(const Process& process, std::chrono::milliseconds time) {
  for (const auto end = std::chrono::steady_clock::now() + time; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(20ms)) {
    if (!is_alive(process)) {
      return true;
    }
  }
  return false;
}

/// Shuts the connection if it leads to another process over a network; not those that only listen, nor local ones.
void shut_if_connected(int socket) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) == 0 && (peer.ss_family == AF_INET || peer.ss_family == AF_INET6)) {
    ::shutdown(socket, SHUT_RDWR);
  }
}

/// To mpirun it looks as if all other hosts had closed: it waits for none of them any more, and ends in order. Its daemons there
/// end their ranks and themselves, as they do when mpirun dies.
void shut_connections(const Process& launcher) {
  const auto process = static_cast<int>(::syscall(SYS_pidfd_open, launcher.id, 0U));
  std::error_code error;
  for (std::filesystem::directory_iterator entry(format("/proc/{}/fd", launcher.id), error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    int number = 0;
    std::from_chars(name.data(), name.data() + name.size(), number);
    if (const auto copy = static_cast<int>(::syscall(SYS_pidfd_getfd, process, number, 0U)); copy >= 0) {
      shut_if_connected(copy);
      ::close(copy);
    }
  }
  ::close(process);
}

}  // namespace

void end_launcher(const Process& launcher, std::chrono::milliseconds patience) {
  if (is_gone_within(launcher, patience)) {
    return;
  }
  shut_connections(launcher);
  if (is_gone_within(launcher, kStepGrace)) {
    return;
  }
  ::kill(launcher.id, SIGTERM);
  if (!is_gone_within(launcher, kStepGrace)) {
    ::kill(launcher.id, SIGKILL);
  }
}

}  // namespace unmask::cluster
