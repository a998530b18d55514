// SPDX-License-Identifier: Apache-2.0
// Runs requests on ranks that are threads of the test, each with its own weights, team, exchange and engine.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <vector>

#include "cluster/placement.h"
#include "comm/threads/thread_world.h"
#include "runtime/checkpoint.h"
#include "runtime/engine.h"
#include "runtime/host_transformer.h"

namespace unmask::testing_data {

struct JobOptions {
  std::int64_t num_ranks = 1;
  int num_threads = 1;  ///< per rank
  experts::Precision precision = experts::Precision::kFloat32;
  std::string kernel = "auto";
  bool on_device = false;  ///< on what runtime::device_backend() has, instead of the processor
  std::optional<std::vector<Rank>> owner = {};  ///< of each expert; evenly placed unless given
  comm::ExchangeOptions exchange = {.min_message_bytes = 1};  ///< in as many chunks as there can be; hidden and wire are the model's
  runtime::MicroBatching micro_batching = {};
  std::int64_t max_rows = 4096;
  std::uint64_t kv_memory_bytes = std::uint64_t{1} << 40;  ///< per rank
};

struct JobResult {
  std::map<std::int64_t, runtime::Answer> answers;  ///< by the request's number
  std::uint64_t wire_bytes = 0;                     ///< summed over ranks
  std::uint64_t num_exchanges = 0;                  ///< likewise
  std::vector<std::uint64_t> bytes_read;            ///< per rank
  std::uint64_t kv_bytes = 0;                       ///< still held at the end, summed over ranks
  std::uint64_t kv_peak_bytes = 0;                  ///< of the rank that held most
};

/// What one rank of a job has at hand.
struct RankParts {
  comm::Communicator& comm;
  runtime::Transformer& transformer;
  const runtime::ModelConfig& config;
};

/// Calls body on every rank with its network ready.
void with_network(const std::filesystem::path& folder, const JobOptions& options, JobResult& result,
                  const std::function<void(RankParts&)>& body);

/// Request i of the list runs on rank i % num_ranks.
JobResult run_job(const std::filesystem::path& folder, const JobOptions& options, const std::vector<runtime::Request>& requests);

}  // namespace unmask::testing_data
