// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda/ranks/moe_testing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "comm/nccl/step_agreement.h"
#include "comm/threads/thread_world.h"
#include "experts/grouped_experts.h"
#include "tests/cuda/product_testing.h"

namespace unmask::runtime::cuda::test {
namespace {

using comm::Communicator;
using experts::cuda::Array;
using experts::cuda::on_device;

constexpr float kEps = 1e-5F;

std::vector<bfloat16> random_weights(std::int64_t count, float deviation, std::mt19937& random) {
  std::normal_distribution<float> normal(0, deviation);
  std::vector<bfloat16> values(size(count));
  std::generate(values.begin(), values.end(), [&] { return to_bfloat16(normal(random)); });
  return values;
}

experts::Matrix as_matrix(const std::vector<bfloat16>& values, std::int64_t rows, std::int64_t cols) {
  experts::Matrix matrix(rows, cols);
  std::copy(values.begin(), values.end(), matrix.data());
  return matrix;
}

/// A layer's weights in the memory of a rank's device.
struct LayerOnDevice {
  Array<float> norm;
  Array<bfloat16> router, gate_up, down;
  DeviceMoeLayer weights() const { return {norm.data(), router.data(), {{gate_up.data(), experts::WeightType::kBf16}, {down.data(), experts::WeightType::kBf16}}}; }
};

LayerOnDevice upload(const MoeModel::Layer& layer, std::span<const ExpertId> held) {
  std::vector<bfloat16> gate_up, down;
  for (const ExpertId expert : held) {
    for (const auto* part : {&layer.gate[expert.at()], &layer.up[expert.at()]}) {
      gate_up.insert(gate_up.end(), part->begin(), part->end());
    }
    down.insert(down.end(), layer.down[expert.at()].begin(), layer.down[expert.at()].end());
  }
  return {on_device(layer.norm), on_device(layer.router), on_device(gate_up), on_device(down)};
}

/// One rank's part of run_on_devices.
class RankOnDevice {
 public:
  RankOnDevice(Communicator& comm, const MoeModel& model, const MoeRanks& ranks)
      : comm_(comm), model_(model), ranks_(ranks), links_(ranks.make_links(comm)),
        moe_(*links_, ranks.placement, comm.rank(),
             {.hidden = model.shape.hidden, .width = model.shape.width, .top_k = model.shape.top_k, .norm_eps = kEps,
              .weights = experts::TopKWeights::kRenormalised, .precision = model.shape.precision, .combine = ranks.combine,
              .overlap = ranks.overlap, .min_part_bytes = 1}),
        agreement_(comm), stream_(experts::cuda::make_stream()), sizes_(2) {
    for (const auto& layer : model.layers) {
      layers_.push_back(upload(layer, ranks.placement.held_by(comm.rank())));
    }
  }

  void run(std::vector<float>& results) {
    const auto& rows = ranks_.rows[comm_.rank().at()];
    const std::int64_t wanted = ranks_.wanted[comm_.rank().at()];
    if (ranks_.replays == 0) {
      begin(rows, wanted);
      queue();
    } else {
      replay(rows, wanted);
    }
    links_->wait(stream_.get());
    const std::int64_t hidden = model_.shape.hidden;
    const auto found = experts::cuda::from_device(residual_.data(), std::ssize(rows) * hidden);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(found.begin() + static_cast<std::int64_t>(i) * hidden, hidden, results.begin() + rows[i] * hidden);
    }
    moe_.count_step(std::ssize(model_.layers));
    const auto statistics = moe_.statistics(stream_.get());
    EXPECT_EQ(statistics.wire_bytes > 0, comm_.num_ranks() > 1);
    EXPECT_LE(statistics.minimum_bytes > 0, comm_.num_ranks() > 1);
  }

 private:
  void begin(const std::vector<std::int64_t>& rows, std::int64_t wanted) {
    const auto step = agreement_.agree(comm::Vote::kWork, {std::ssize(rows), wanted});
    shape_ = comm::shape_of(step);
    if (!has_begun_) {  // room for all steps, which are not larger
      moe_.make_room(shape_);
      has_begun_ = true;
    }
    moe_.begin_step(shape_);
    residual_.grow(most(shape_.rows) * model_.shape.hidden + 1);
    std::vector<float> values;
    for (const std::int64_t row : rows) {
      const auto one = model_.residual(row);
      values.insert(values.end(), one.begin(), one.end());
    }
    const std::vector<std::int32_t> sizes{static_cast<std::int32_t>(rows.size()), static_cast<std::int32_t>(wanted)};
    experts::cuda::copy(residual_.data(), values.data(), std::ssize(values), stream_.get());
    experts::cuda::copy(sizes_.data(), sizes.data(), 2, stream_.get());
    links_->wait(stream_.get());
  }
  std::int64_t most(const std::vector<std::int64_t>& of_ranks) const { return of_ranks[comm_.rank().at()]; }

  void queue() {
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      const bool is_last = layer + 1 == layers_.size();
      moe_.run(layers_[layer].weights(), is_last ? DeviceMoe::Rows::kWanted : DeviceMoe::Rows::kAll,
               {sizes_.data() + (is_last ? 1 : 0), most(is_last ? shape_.wanted : shape_.rows)}, residual_.data(), nullptr, stream_.get());
    }
  }

  void replay(const std::vector<std::int64_t>& rows, std::int64_t wanted) {
    begin(rows, wanted);
    experts::cuda::check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    queue();
    cudaGraph_t graph = nullptr;
    experts::cuda::check(cudaStreamEndCapture(stream_.get(), &graph), "cudaStreamEndCapture");
    cudaGraphExec_t exec = nullptr;
    experts::cuda::check(cudaGraphInstantiate(&exec, graph, 0), "cudaGraphInstantiate");
    const experts::cuda::GraphExec owner(exec);
    experts::cuda::check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    for (std::int64_t i = 0; i < ranks_.replays; ++i) {
      auto others = rows;  // fewer ones, in another order, but the last time
      if (i + 1 < ranks_.replays) {
        std::reverse(others.begin(), others.end());
        others.resize(others.size() - others.size() / 8);
      }
      begin(others, std::min(wanted, std::ssize(others)));
      experts::cuda::check(cudaGraphLaunch(exec, stream_.get()), "cudaGraphLaunch");
      links_->wait(stream_.get());
    }
  }

  Communicator& comm_;
  const MoeModel& model_;
  const MoeRanks& ranks_;
  std::unique_ptr<comm::DeviceLinks> links_;
  DeviceMoe moe_;
  comm::StepAgreement agreement_;
  experts::cuda::Stream stream_;
  std::vector<LayerOnDevice> layers_;
  comm::StepShape shape_;
  bool has_begun_ = false;
  Array<float> residual_;
  Array<std::int32_t> sizes_;
};

}  // namespace

MoeModel::MoeModel(const MoeCase& c) : shape(c) {
  std::mt19937 random(21);
  for (std::int64_t l = 0; l < c.num_layers; ++l) {
    Layer layer;
    for (std::int64_t i = 0; i < c.hidden; ++i) {
      layer.norm.push_back(std::uniform_real_distribution<float>(0.5F, 1.5F)(random));
    }
    layer.router = random_weights(c.num_experts * c.hidden, 0.3F, random);
    for (std::int64_t e = 0; e < c.num_experts; ++e) {
      layer.gate.push_back(random_weights(c.width * c.hidden, 0.2F, random));
      layer.up.push_back(random_weights(c.width * c.hidden, 0.2F, random));
      layer.down.push_back(random_weights(c.hidden * c.width, 0.2F, random));
    }
    layers.push_back(std::move(layer));
  }
}

std::vector<float> MoeModel::residual(std::int64_t row) const {
  std::mt19937 random(static_cast<unsigned>(1000 + row));
  std::normal_distribution<float> normal;
  std::vector<float> values(size(shape.hidden));
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

std::vector<float> run_on_host(const MoeModel& model, std::int64_t num_rows, std::int64_t num_wanted) {
  const MoeCase& c = model.shape;
  std::vector<float> residual;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const auto one = model.residual(row);
    residual.insert(residual.end(), one.begin(), one.end());
  }
  comm::threads::ThreadWorld(1).run([&](Communicator& comm) {
    ThreadTeam team(1);
    const experts::Compute compute{&experts::choose_kernel_family("portable", c.precision), &team, c.precision};
    const auto placement = cluster::Placement::even(c.num_experts, 1);
    const auto wire = c.precision == experts::Precision::kFloat32 ? comm::WireType::kFloat32 : comm::WireType::kBfloat16;
    const auto exchange = comm::make_exchange(comm, placement, team, {.hidden = c.hidden, .wire = wire});
    for (std::size_t l = 0; l < model.layers.size(); ++l) {
      const auto& layer = model.layers[l];
      const std::int64_t rows = l + 1 == model.layers.size() ? num_wanted : num_rows;
      experts::ExpertWeights weights;
      for (std::size_t e = 0; e < layer.gate.size(); ++e) {
        weights.push_back({as_matrix(layer.gate[e], c.width, c.hidden), as_matrix(layer.up[e], c.width, c.hidden),
                           as_matrix(layer.down[e], c.hidden, c.width)});
      }
      std::vector<float> normed(size(rows * c.hidden));
      experts::Router router({.top_k = c.top_k, .weights = experts::TopKWeights::kRenormalised});
      const auto routing = router.route_normed(compute, {.x = residual.data(), .rows = rows, .weight = layer.norm, .eps = kEps},
                                               as_matrix(layer.router, c.num_experts, c.hidden), normed.data());
      exchange->dispatch(normed, routing, {.vote = comm::Vote::kWork});
      exchange->arrive();
      experts::GroupedExperts grouped;
      for (std::int64_t chunk = 0; chunk < exchange->num_chunks(); ++chunk) {
        const auto work = exchange->receive(chunk);
        exchange->give_back(chunk, grouped.run(compute, weights, c.hidden, work));
      }
      exchange->combine({residual.data(), normed.size()});
    }
  });
  return residual;
}

std::vector<float> run_on_devices(const MoeModel& model, const MoeRanks& ranks) {
  std::int64_t num_rows = 0;
  for (const auto& rows : ranks.rows) {
    num_rows += std::ssize(rows);
  }
  std::vector<float> results(size(num_rows * model.shape.hidden), -1.0F);
  comm::threads::ThreadWorld(ranks.placement.num_ranks(), comm::Deadline{std::chrono::seconds(60)}).run([&](Communicator& comm) {
    RankOnDevice(comm, model, ranks).run(results);  // no two ranks have the same row
  });
  return results;
}

}  // namespace unmask::runtime::cuda::test
