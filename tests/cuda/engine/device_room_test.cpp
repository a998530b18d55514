// SPDX-License-Identifier: Apache-2.0
// Ranks with a device each, over NCCL, whose rows grow at different times: buffers move and captured steps are dropped on all of them in
// the same step. The simulated NCCL refuses a replay beside a step that was queued, the simulated device the freeing of captured memory.
#include <algorithm>

#include <gtest/gtest.h>

#include "comm/nccl/nccl_links.h"
#include "comm/threads/thread_world.h"
#include "runtime/checkpoint.h"
#include "runtime/cuda/device_transformer.h"

namespace unmask::runtime::cuda {
namespace {

const std::filesystem::path kModel = std::filesystem::path(UNMASK_SOURCE_DIR) / "tests/data/plain";

/// Sequences of 16 rows each: the n-th has tokens of its own, its last row is wanted.
StepBatch batch_of(std::int64_t first_sequence, std::int64_t rows) {
  StepBatch batch;
  for (std::int64_t begin = 0; begin < rows; begin += 16) {
    std::vector<TokenId> tokens;
    for (std::int64_t i = 0; i < std::min<std::int64_t>(16, rows - begin); ++i) {
      tokens.push_back(static_cast<TokenId>((first_sequence + begin / 16 + 5 * i) % 40));
    }
    batch.add(tokens);
    batch.wanted.emplace_back(batch.num_rows() - 1);
  }
  return batch;
}

TEST(DeviceRoom, GrowsOnAllRanksTogether) {
  const Checkpoint checkpoint(kModel);
  const auto& config = checkpoint.config();
  const auto placement = cluster::Placement::even(config.num_experts, 2);
  // Each step twice, so that it is captured, and once more behind the steps that need other room.
  const std::vector<std::vector<std::int64_t>> steps{{320, 16}, {320, 16}, {16, 320}, {16, 320}, {16, 320}, {320, 16}, {320, 16}, {320, 16}, {16, 16}};
  comm::threads::ThreadWorld(2, comm::Deadline{std::chrono::seconds(60)}).run([&](comm::Communicator& comm) {
    ThreadTeam team(1);
    auto loaded = checkpoint.load(placement, comm.rank(), team, {.layout = experts::Layout::kRows});
    const experts::Compute compute{&experts::choose_kernel_family("portable", experts::Precision::kFloat32), &team, experts::Precision::kFloat32};
    DeviceTransformer transformer({.config = config, .placement = placement, .comm = comm, .compute = compute,
                                   .exchange = {.hidden = config.hidden, .wire = comm::WireType::kFloat32}, .log = nullptr},
                                  loaded.weights, std::make_unique<comm::NcclLinks>(comm));
    std::vector<float> of_few;  // logits of one rank's 16 rows
    for (const auto& rows : steps) {
      const std::int64_t mine = rows[comm.rank().at()];
      const StepBatch batch = batch_of(comm.rank().value * 100, mine);
      transformer.forward(batch, comm::Vote::kWork);
      const auto logits = transformer.logits(0, 1);
      of_few = of_few.empty() ? logits : of_few;
      EXPECT_EQ(logits, of_few) << mine << " rows";  // of the same sequence in every step
    }
    const auto times = transformer.device_times();
    EXPECT_EQ(times->queued_steps + times->replayed_steps, std::ssize(steps));
    EXPECT_EQ(times->queued_steps, 4);  // the first of each shape, and the one whose graph was dropped
    comm.barrier();
  });
}

}  // namespace
}  // namespace unmask::runtime::cuda
