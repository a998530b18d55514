// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "launcher/run/network.h"

namespace unmask::launcher {

/// How the exchange of a run went.
struct ExchangeReport {
  std::uint64_t wire_bytes = 0;     ///< summed over ranks
  std::uint64_t minimum_bytes = 0;  ///< the rows among them, which this way to combine cannot avoid
  std::uint64_t naive_bytes = 0;    ///< without de-duplication: a row out and back per (token, expert)
  double experts_ms_per_step = 0;   ///< of the rank that computes longest
  double exposed_ms_per_step = 0;   ///< nothing to do but wait for bytes; of the rank that waited longest
  double hidden_fraction = 0;       ///< of what the bytes would take alone at the rate of the start-up probe
  double rank_imbalance = 1;        ///< rows computed: busiest rank over mean
  double expert_imbalance = 1;      ///< rows of a layer's busiest expert over the mean of all experts
};

/// Collective.
ExchangeReport report_exchange(const Job& job, Network& network);

/// One line for the log; empty on a single rank.
std::string describe(const ExchangeReport& report);

}  // namespace unmask::launcher
