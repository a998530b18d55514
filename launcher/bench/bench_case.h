// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bench/record.h"
#include "experts/linear.h"
#include "experts/matrix.h"
#include "launcher/run/job.h"
#include "runtime/device_backend.h"
#include "runtime/model_config.h"
#include "runtime/stage_times.h"

namespace unmask::launcher {

/// What the benches of the network's parts are asked for.
struct BenchPlan {
  runtime::ModelConfig config;
  std::string config_name;
  std::string dtype;
  std::vector<std::int64_t> tokens;  ///< rows per rank, case by case
  std::int64_t sequences = 1;
  std::int64_t wanted = 0;
  std::int64_t context = 0;
  std::int64_t repeat = 0;
};

/// Collective. Throws AgreedError.
BenchPlan read_bench_plan(const Job& job);

/// What a part of a case cannot do without, on this rank.
struct Need {
  std::string stage;
  double bytes = 0;  ///< weights, keys and values that must be read
  double flops = 0;
};

/// One case: measured `repeat` times, in turn with the limits of the machine by the same threads.
struct BenchCase {
  std::string bench;
  std::vector<bench::Field> parameters;
  std::int64_t tokens = 0;                            ///< rows per rank
  std::vector<std::span<const std::byte>> memory;     ///< larger than any cache: what the limit of reading is measured with
  std::function<void()> run = {};                     ///< collective
  std::function<std::vector<Need>()> needs = {};      ///< asked after the first run
  const runtime::StageTimes* times = nullptr;         ///< of the last run; or null
  std::function<runtime::DeviceRates()> rates = {};   ///< the limits of a device, where it is not the processor that runs
  std::vector<std::int64_t> experts_touched = {};
};

/// Collective. Runs it once more than is counted, so that buffers grow. The record of rank 0; the limit is that of the rank
/// that needs most.
bench::Record measure_case(const Job& job, const BenchPlan& plan, const experts::Compute& compute, BenchCase& one);

/// A matrix as bytes to be read.
std::span<const std::byte> memory_of(const experts::Matrix& matrix);

/// What every case of a plan has in common, then its rows.
std::vector<bench::Field> case_parameters(const BenchPlan& plan, std::int64_t tokens);

}  // namespace unmask::launcher
