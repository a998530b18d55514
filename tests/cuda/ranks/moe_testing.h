// SPDX-License-Identifier: Apache-2.0
// A small MoE layer and its rows, as tests of ranks with GPUs share them: on the CPU, and on devices of any number of ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cluster/placement.h"
#include "comm/communicator.h"
#include "comm/exchange.h"
#include "comm/nccl/device_links.h"
#include "experts/precision.h"
#include "runtime/cuda/device_moe.h"

namespace unmask::runtime::cuda::test {

struct MoeCase {
  std::string name;
  std::int64_t num_experts = 16, top_k = 4, hidden = 64, width = 32;
  experts::Precision precision = experts::Precision::kBfloat16;
  std::int64_t num_layers = 2;
};
inline void PrintTo(const MoeCase& c, std::ostream* out) { *out << c.name; }

/// Weights of the layers as they are in a checkpoint, and rows, each known by its number.
struct MoeModel {
  explicit MoeModel(const MoeCase& c);

  struct Layer {
    std::vector<float> norm;
    std::vector<bfloat16> router;          ///< [experts, hidden]
    std::vector<std::vector<bfloat16>> gate, up, down;  ///< by expert
  };
  MoeCase shape;
  std::vector<Layer> layers;

  std::vector<float> residual(std::int64_t row) const;  ///< [hidden]
};

/// The layers one after the other on one rank, with the portable kernels and the exchange of the CPU; the last one for `wanted` only.
/// Returns [rows, hidden].
std::vector<float> run_on_host(const MoeModel& model, std::int64_t num_rows, std::int64_t num_wanted);

/// How rows and experts are dealt to ranks, and over which links.
struct MoeRanks {
  cluster::Placement placement;
  std::vector<std::vector<std::int64_t>> rows;    ///< by rank: numbers of its rows
  std::vector<std::int64_t> wanted;               ///< by rank: the first of them
  comm::Combine combine = comm::Combine::kExact;
  comm::Overlap overlap = comm::Overlap::kOn;
  std::function<std::unique_ptr<comm::DeviceLinks>(comm::Communicator&)> make_links = comm::make_device_links;
  /// How often a captured step is run, with other rows each time but the last; 0: not captured.
  std::int64_t replays = 0;
};

/// The same layers on ranks that are threads. Returns [rows of all ranks, hidden], by the rows' numbers.
std::vector<float> run_on_devices(const MoeModel& model, const MoeRanks& ranks);

}  // namespace unmask::runtime::cuda::test
