// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "launcher/bench/load_roofline.h"
#include "runtime/engine.h"

namespace unmask::launcher {

/// What a load of requests did, on all ranks together.
struct LoadReport {
  double seconds = 0;
  double outside_share = 0;  ///< of the time: not in the network (forward and head); of the rank that has most of it
  double device_idle_share = -1;  ///< of the time of a GPU: between steps, without work; of the rank that has most of it; -1: no GPU
  std::int64_t steps = 0;    ///< forwards
  std::int64_t passes = 0, rows = 0, tokens = 0, failed = 0;
  std::uint64_t kv_peak_bytes = 0;  ///< summed over ranks
  std::vector<double> first_block_ms, inter_block_ms, latency_ms;  ///< of all requests, from submission on
  std::map<std::int64_t, std::vector<TokenId>> answers;            ///< by number
  StepCounts step_counts;  ///< of this rank
};

/// Collective. Answers the requests, which all ranks know, `concurrency` at a time: whenever one is answered the next is
/// submitted. Request i runs on the rank of place i % concurrency.
LoadReport run_load(const Job& job, Network& network, const runtime::EngineOptions& options, std::span<const runtime::Request> requests,
                    std::int64_t concurrency);

}  // namespace unmask::launcher
