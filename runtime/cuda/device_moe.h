// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "cluster/placement.h"
#include "comm/exchange.h"
#include "comm/nccl/device_links.h"
#include "comm/nccl/step_agreement.h"
#include "comm/nccl/unit_plan.h"
#include "experts/cuda/device.h"
#include "experts/cuda/kernels.h"
#include "experts/router.h"
#include "runtime/cuda/moe_layout.h"

namespace unmask::runtime::cuda {

/// A layer's weights in device memory; of the experts only those of this rank.
struct DeviceExperts {
  experts::cuda::ExpertMatrices gate_up;  ///< [num_local, 2, width, hidden]
  experts::cuda::ExpertMatrices down;     ///< [num_local, hidden, width]
};
struct DeviceMoeLayer {
  const float* norm;        ///< [hidden]
  const bfloat16* router;   ///< [num_experts, hidden]
  DeviceExperts experts;
};

struct DeviceMoeOptions {
  std::int64_t hidden = 0, width = 0, top_k = 0;
  float norm_eps = 0;
  experts::TopKWeights weights = experts::TopKWeights::kAsTheyAre;
  experts::Precision precision = experts::Precision::kBfloat16;  ///< also of what travels
  experts::cuda::GroupedKernel kernel = experts::cuda::GroupedKernel::kMma;
  comm::Combine combine = comm::Combine::kExact;
  comm::Overlap overlap = comm::Overlap::kOn;
  /// Of what a rank returns to another one, a part has at least so much: less is not worth another exchange.
  std::int64_t min_part_bytes = std::int64_t{1} << 20;
};

/// The MoE layer on a GPU of each rank. Everything is queued, nothing is waited for, sizes are those of the step's shape; so a
/// step can be captured where the links can.
///
///   stream   route |        | sort, gate up | down 0, sums 0 | down 1, sums 1 |             | combine
///   links           gather                                    return 0         return 1
///
/// gather: each rank's rows, choices and weights to every other one. return i: the i-th part of the units' sums to the ranks of the
/// rows (comm/nccl/unit_plan.h). One rank alone does the same without either.
class DeviceMoe {
 public:
  /// Links must outlive it. The device is the thread's current one.
  DeviceMoe(comm::DeviceLinks& links, const cluster::Placement& placement, Rank rank, const DeviceMoeOptions& options);

  /// Makes room for steps of up to this shape. Memory may move: on no rank may anything that was queued still run, or anything that was
  /// captured be replayed again.
  void make_room(const comm::StepShape& shape);
  /// What runs from now on is of this shape, the same on every rank, for which there is room; nothing moves.
  void begin_step(const comm::StepShape& shape);

  enum class Rows { kAll, kWanted };
  /// residual += experts(norm(residual)) for the step's rows, or the wanted ones. Collective. `counts` as RouterProblem says, or null.
  void run(const DeviceMoeLayer& layer, Rows which, const experts::cuda::Count& rows, float* residual, std::int64_t* counts,
           cudaStream_t stream);

  /// Queues that a wrong choice of the layers so far becomes known here, at the end of a step's layers.
  void fetch_wrong_choice(cudaStream_t stream);
  struct WrongChoice {
    Rank rank;          ///< from which it came
    std::int64_t row;   ///< of that rank
    std::int32_t id;    ///< of an expert that there is not
  };
  /// To be asked behind a wait for the step: its results are worth nothing where a rank chose what cannot be.
  std::optional<WrongChoice> wrong_choice() const;

  /// To be told once per step that was run or replayed: it had this many layers, the last one of wanted rows.
  void count_step(std::int64_t num_layers);
  /// Bytes so far; waits for the stream. wire_bytes: messages have room for all rows of a shape, whatever they chose. minimum_bytes: the
  /// rows that this rank's rows needed elsewhere, and those that had to come back for them.
  comm::ExchangeStatistics statistics(cudaStream_t stream) const;

 private:
  void exchange(std::string_view operation, const MoeLayout::Messages& messages, const experts::cuda::Event& begin, cudaStream_t stream);
  void wait_for_links(cudaStream_t stream);
  void count_traffic(const MoeLayout& layout, const experts::cuda::Count& rows, cudaStream_t stream);
  void sort(const MoeLayout& layout, Rows which, cudaStream_t stream);
  void gate_up(const MoeLayout& layout, const DeviceExperts& experts, cudaStream_t stream);
  void down_and_sum(const MoeLayout& layout, std::int64_t part, const DeviceExperts& experts, cudaStream_t stream);
  void grow(const MoeLayout& layout);
  experts::cuda::Outputs values(std::byte* data) const { return {data, options_.precision}; }
  std::int64_t value_bytes() const { return options_.precision == experts::Precision::kFloat32 ? 4 : 2; }

  comm::DeviceLinks& links_;
  DeviceMoeOptions options_;
  MoeJob job_;
  comm::StepShape room_, shape_;
  std::array<MoeLayout, 2> layouts_;  ///< by Rows
  std::uint64_t wire_bytes_ = 0, num_layers_ = 0;

  experts::cuda::Array<std::int32_t> local_of_;      ///< [experts]
  experts::cuda::Array<std::int32_t> owner_;         ///< [experts]
  experts::cuda::Array<experts::cuda::Traffic> traffic_;
  experts::cuda::Array<experts::cuda::SumUnit> units_;
  experts::cuda::Array<experts::cuda::SumTerm> terms_;  ///< [experts]

  experts::cuda::Array<std::byte> rows_;             ///< [rows of all ranks, hidden]
  experts::cuda::Array<std::int32_t> ids_;           ///< [rows of all ranks, top_k]
  experts::cuda::Array<float> weights_;              ///< [rows of all ranks, top_k]
  experts::cuda::Array<std::int32_t> offsets_, pair_rows_, pair_of_, cursors_;
  experts::cuda::Array<float> pair_weights_;
  experts::cuda::Array<unsigned long long> wrong_;         ///< by Rows: experts::cuda::wrong_id()
  experts::cuda::PinnedArray<unsigned long long> host_wrong_;
  experts::cuda::Array<std::byte> h_;                ///< [pairs, width]
  experts::cuda::Array<float> y_;                    ///< [pairs, hidden]
  experts::cuda::Array<std::byte> rounded_;          ///< sums, as MoeLayout says
  experts::cuda::Array<float> plain_;

  experts::cuda::Stream links_stream_;
  experts::cuda::Event routed_, exchanged_;
  std::array<experts::cuda::Event, MoeLayout::kMostParts> summed_;
};

}  // namespace unmask::runtime::cuda
