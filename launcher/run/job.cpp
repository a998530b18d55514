// SPDX-License-Identifier: Apache-2.0
#include "launcher/run/job.h"

#include <cstdio>
#include <new>
#include <optional>

#include "base/byte_stream.h"
#include "comm/handshake.h"
#include "launcher/run/version.h"

namespace unmask::launcher {
namespace {

/// An error that a collective threw: all ranks have it, unless it says that a rank is missing.
[[noreturn]] void rethrow_agreed(const Error& error) {
  if (error.code() == ExitCode::kPeerLost) {
    throw error;
  }
  throw AgreedError(error.code(), error.what());
}

}  // namespace

void agreed(comm::Communicator& comm, const std::function<void()>& part) {
  std::optional<Error> mine;
  try {
    part();
  } catch (const Error& error) {
    mine = error;
  } catch (const std::bad_alloc&) {
    mine.emplace(ExitCode::kBadInput, "there is not enough memory on this host: use more ranks on more hosts, or a smaller input");
  }
  try {
    comm::agree(comm, mine);
  } catch (const Error& error) {
    rethrow_agreed(error);
  }
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

void require_same_everywhere(const Job& job, const std::string& checkpoint_fingerprint) {
  const std::vector<comm::Fact> facts = {{"program version", version_line()},
                                         {"checkpoint", checkpoint_fingerprint},
                                         {"options", job.options().dump(job.invocation.command)}};
  try {
    comm::require_same(job.comm, facts);
  } catch (const Error& error) {
    rethrow_agreed(error);
  }
}

}  // namespace unmask::launcher
