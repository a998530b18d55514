// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "comm/routing_log.h"
#include "launcher/run/job.h"

namespace unmask::launcher {

/// Collective. Writes what all ranks recorded on rank 0: a line {"rank", "layer", "top_k", "ids"} for each layer of each rank.
void write_routing(const Job& job, const comm::RoutingLog& mine, const std::string& file);

/// The experts that the rows of a rank chose in such a file, [rows, top_k]. Throws Error(kBadInput), also where there are none.
std::vector<ExpertId> read_routing_file(const std::string& file, Rank rank, std::int64_t num_experts, std::int64_t top_k);

}  // namespace unmask::launcher
