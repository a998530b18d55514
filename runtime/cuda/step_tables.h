// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "comm/nccl/step_agreement.h"
#include "experts/cuda/device.h"
#include "experts/cuda/kernels.h"
#include "runtime/model_config.h"
#include "runtime/rope.h"
#include "runtime/step_batch.h"

namespace unmask::runtime::cuda {

/// Room of a captured step for what differs from step to step: the most rows, wanted rows and attention tasks of this rank.
struct StepRoom {
  std::int64_t rows = 0, wanted = 0;
  std::int64_t tasks = 0, wanted_tasks = 0;
  std::int64_t sequences = 0;
  bool operator==(const StepRoom&) const = default;
};

/// All that a pass must know of its batch, in device memory: made on the host in one piece, sent by one copy.
class StepTables {
 public:
  StepTables(const ModelConfig& config, experts::Precision precision) : config_(config), precision_(precision) {}

  /// Makes room for steps of up to this shape on this rank. Memory may move: nothing that was captured is of use any more. How much
  /// depends on shapes alone, not on a batch, so that it happens on all ranks at once.
  void make_room(const comm::StepShape& shape, std::size_t rank);
  /// The next step is of this shape, for which there is room.
  void begin(const comm::StepShape& shape, std::size_t rank);
  /// Fills the tables and queues the copy. `own`: where keys and values of sequences without a store go, [2, kv heads, rows, head_dim].
  void send(const StepBatch& batch, void* own, cudaStream_t stream);

  const StepRoom& room() const { return room_; }
  std::int64_t num_joined() const { return num_joined_; }
  bool is_guided() const { return is_guided_; }

  experts::cuda::Count rows() const { return {&device_sizes()->rows, room_.rows}; }
  experts::cuda::Count wanted() const { return {&device_sizes()->wanted, room_.wanted}; }
  experts::cuda::Count joined() const { return {&device_sizes()->joined, room_.wanted}; }
  experts::cuda::Count tasks() const { return {&device_sizes()->tasks, room_.tasks}; }
  experts::cuda::Count wanted_tasks() const { return {&device_sizes()->wanted_tasks, room_.wanted_tasks}; }

  // On the device:
  struct Arrays {
    std::int32_t *tokens, *sequence_of, *positions;      ///< [rows]
    std::int32_t* places;                                ///< [rows] of `added`, or -1
    float* added_weights;                                ///< [rows]
    std::int32_t *wanted, *wanted_positions;             ///< [wanted]
    std::int32_t *join_a, *join_b;                       ///< [joined]
    float* join_weights;                                 ///< [joined]
    experts::cuda::DeviceSequence* sequences;
    experts::cuda::AttentionTask *tasks, *wanted_tasks;
    experts::cuda::StepSizes* sizes;
  };
  const Arrays& arrays() const { return device_; }
  const float* added() const { return added_.data(); }
  const float* cos() const { return cos_.data(); }
  const float* sin() const { return sin_.data(); }

 private:
  const experts::cuda::StepSizes* device_sizes() const { return device_.sizes; }
  static StepRoom room_of(const comm::StepShape& shape, std::size_t rank);
  static Arrays lay_out(const StepRoom& room, std::byte* base, std::int64_t& bytes);
  void fill_sequences(const StepBatch& batch, void* own, experts::cuda::StepSizes& sizes);
  void fill_wanted(const StepBatch& batch, experts::cuda::StepSizes& sizes);
  void fill_guidance(const StepBatch& batch, experts::cuda::StepSizes& sizes);
  void fill_added(const StepBatch& batch, cudaStream_t stream);
  void prepare_rope();

  const ModelConfig& config_;
  experts::Precision precision_;
  StepRoom room_;
  std::int64_t num_joined_ = 0;
  bool is_guided_ = false;
  Arrays host_{}, device_{};
  std::int64_t bytes_ = 0;
  experts::cuda::PinnedArray<std::byte> host_memory_;
  experts::cuda::Array<std::byte> device_memory_;
  experts::cuda::PinnedArray<float> added_host_;
  experts::cuda::Array<float> added_;                    ///< [.., hidden]
  experts::cuda::Array<float> cos_, sin_;                ///< [positions, head_dim / 2]
};

}  // namespace unmask::runtime::cuda
