// SPDX-License-Identifier: Apache-2.0
#include "launcher/run/job.h"

#include <cstdio>

#include "base/byte_stream.h"
#include "launcher/run/version.h"

namespace unmask::launcher {

void as_agreed(const std::function<void()>& collective) {
  try {
    collective();
  } catch (const Error& error) {
    if (error.code() == ExitCode::kPeerLost) {
      throw;
    }
    throw AgreedError(error.code(), error.what());
  }
}

void agreed(comm::Communicator& comm, const std::function<void()>& part) {
  as_agreed([&] { comm::run_together(comm, part); });
}

ExitCode share_code(const Job& job, const std::function<ExitCode()>& find) {
  ByteWriter mine;
  mine.put(job.comm.is_root() ? find() : ExitCode::kDone);
  const auto shared = job.comm.broadcast(mine.take(), Rank(0));
  return ByteReader(shared).get<ExitCode>();
}

void tell(std::string_view message) {
  const std::string line = format("unmask: {}\n", message);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::vector<comm::Fact> common_facts(const Job& job) {
  return {{"program version", version_line()}, {"options", job.options().dump(job.invocation.command)}};
}

}  // namespace unmask::launcher
