// SPDX-License-Identifier: Apache-2.0
#include "launcher/io/output.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "base/error.h"
#include "launcher/io/beside.h"

namespace unmask::launcher {

/// A pipe that can be written to takes PIPE_BUF bytes; of a terminal nobody knows; a file is always ready.
bool Output::takes_at_once(std::size_t bytes) const {
  struct stat status {};
  pollfd writable{.fd = descriptor_, .events = POLLOUT, .revents = 0};
  const bool known = ::fstat(descriptor_, &status) == 0;
  return known && (S_ISREG(status.st_mode) || (S_ISFIFO(status.st_mode) && bytes <= PIPE_BUF && ::poll(&writable, 1, 0) == 1));
}

void Output::write(std::string_view bytes) const {
  if (!meanwhile_ || takes_at_once(bytes.size())) {
    write_all(bytes);
  } else {
    run_beside([&] { write_all(bytes); }, meanwhile_);
  }
}

void Output::write_all(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
      continue;
    }
    const int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK) {  // a terminal that another program made non-blocking
      pollfd writable{.fd = descriptor_, .events = POLLOUT, .revents = 0};
      ::poll(&writable, 1, -1);
    } else if (error == EPIPE) {
      throw Error(ExitCode::kIo, "");
    } else if (error != EINTR) {
      fail(ExitCode::kIo, "standard output cannot be written: {}; make room or choose another file", std::strerror(error));
    }
  }
}

}  // namespace unmask::launcher
