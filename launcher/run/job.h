// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/log.h"
#include "comm/communicator.h"
#include "comm/handshake.h"
#include "launcher/io/output.h"
#include "launcher/options/command_line.h"
#include "launcher/text/request_line.h"

namespace unmask::launcher {

/// What every rank of one run works with.
struct Job {
  comm::Communicator& comm;
  const Invocation& invocation;
  const std::vector<RequestInput>& inputs;  ///< what is to be answered; on rank 0 only
  const Output& output;                     ///< rank 0 alone writes
  const Logger& log;

  const OptionValues& options() const { return invocation.values; }
};

/// An error that all ranks have: they end in step, and rank 0 tells.
class AgreedError : public Error {
 public:
  using Error::Error;
};

/// Collective. Runs `part` on this rank and ends with AgreedError on all of them if it failed on any.
void agreed(comm::Communicator& comm, const std::function<void()>& part);

/// Runs something collective whose errors all ranks have: they become AgreedError, unless they say that a rank is missing.
void as_agreed(const std::function<void()>& collective);

/// Collective. Rank 0's exit code, which it alone finds out, on every rank.
ExitCode share_code(const Job& job, const std::function<ExitCode()>& find);

/// One line on standard error, `unmask: message`.
void tell(std::string_view message);

/// What all ranks must agree on, whatever the checkpoint.
std::vector<comm::Fact> common_facts(const Job& job);

}  // namespace unmask::launcher
