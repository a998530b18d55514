// SPDX-License-Identifier: Apache-2.0
// Expert ids that cannot be, from a peer whose memory or wire is bad: they index nothing, and end the job with the peer's name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/threads/thread_world.h"
#include "runtime/checkpoint.h"
#include "runtime/cuda/device_transformer.h"
#include "tests/comm/lost_peer.h"

namespace unmask::runtime::cuda {
namespace {

const std::filesystem::path kModel = std::filesystem::path(UNMASK_SOURCE_DIR) / "tests/data/plain";
constexpr std::int64_t kRow = 3;

/// Other links, which bring rank 1 a wrong id in a row of rank 0.
class BadLinks final : public comm::DeviceLinks {
 public:
  BadLinks(comm::Communicator& comm, std::int64_t top_k, std::int32_t id)
      : links_(comm::make_device_links(comm)), is_hit_(comm.rank() == Rank(1)), top_k_(top_k), id_(id) {}

  void exchange(std::string_view operation, std::span<const Piece> out, std::span<const Piece> in, cudaStream_t stream) override {
    links_->exchange(operation, out, in, stream);
    if (is_hit_ && operation == "rows to the experts") {
      auto* const ids = static_cast<std::int32_t*>(in[1].memory);  // behind the rows themselves
      experts::cuda::copy(ids + kRow * top_k_, static_cast<const std::int32_t*>(&id_), 1, stream);
    }
  }
  bool is_capturable() const override { return false; }
  void wait(cudaStream_t stream) override { links_->wait(stream); }
  std::string_view name() const override { return "bad"; }

 private:
  std::unique_ptr<comm::DeviceLinks> links_;
  bool is_hit_;
  std::int64_t top_k_;
  std::int32_t id_;
};

std::string error_of(std::int32_t id, const std::function<void(DeviceTransformer&)>& ask) {
  const Checkpoint checkpoint(kModel);
  const auto& config = checkpoint.config();
  const auto placement = cluster::Placement::even(config.num_experts, 2);
  return comm::test::lost_peer([&] {
    comm::threads::ThreadWorld(2, comm::Deadline{std::chrono::seconds(5)}).run([&](comm::Communicator& comm) {
      ThreadTeam team(1);
      auto loaded = checkpoint.load(placement, comm.rank(), team, {.layout = experts::Layout::kRows});
      const experts::Compute compute{&experts::choose_kernel_family("portable", experts::Precision::kFloat32), &team, experts::Precision::kFloat32};
      DeviceTransformer transformer({.config = config, .placement = placement, .comm = comm, .compute = compute,
                                     .exchange = {.hidden = config.hidden, .wire = comm::WireType::kFloat32}, .log = nullptr},
                                    loaded.weights, std::make_unique<BadLinks>(comm, config.experts_per_token, id));
      StepBatch batch;
      batch.add(std::vector<TokenId>{1, 2, 3, 4, 5});
      batch.wanted.emplace_back(0);
      transformer.forward(batch, comm::Vote::kWork);
      ask(transformer);
    });
  });
}

TEST(DeviceChoice, WhatNoExpertHasEndsTheJob) {
  for (const std::int32_t id : {1 << 30, 4711, -2}) {
    EXPECT_THAT(error_of(id, [](DeviceTransformer& t) { static_cast<void>(t.logits(0, 1)); }),
                testing::AllOf(testing::HasSubstr("rank 0 (host"), testing::HasSubstr("asks for expert " + std::to_string(id) + " for its row 3")));
  }
}

TEST(DeviceChoice, ItIsFoundWhereNobodyAsksTheHead) {
  const auto next_step = [](DeviceTransformer& t) {
    StepBatch batch;
    batch.add(std::vector<TokenId>{1, 2, 3, 4});
    t.forward(batch, comm::Vote::kWork);
    t.forward(batch, comm::Vote::kWork);
  };
  EXPECT_THAT(error_of(99, next_step), testing::HasSubstr("asks for expert 99"));
  EXPECT_THAT(error_of(99, [](DeviceTransformer& t) { static_cast<void>(t.router_counts()); }), testing::HasSubstr("asks for expert 99"));
}

}  // namespace
}  // namespace unmask::runtime::cuda
