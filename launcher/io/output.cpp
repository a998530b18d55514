// SPDX-License-Identifier: Apache-2.0
#include "launcher/io/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace unmask::launcher {

void Output::write(std::string_view bytes) const {
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
