// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "launcher/run/network.h"
#include "launcher/text/model_text.h"
#include "runtime/request.h"

namespace unmask::launcher {

/// The requests of a benchmark, which all ranks know.
struct RequestWork {
  SpecialTokens special;
  std::vector<runtime::Request> requests;
};

/// Collective. The lines of --requests, or as many requests of --prompt-length made-up tokens as `most` says.
RequestWork make_request_work(const Job& job, const Network& network, std::int64_t most);

}  // namespace unmask::launcher
