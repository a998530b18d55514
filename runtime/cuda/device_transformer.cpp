// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/device_transformer.h"

#include <algorithm>

#include "base/bfloat16.h"
#include "comm/point_to_point.h"
#include "experts/cuda/range.h"
#include "runtime/cuda/device_key_values.h"

namespace unmask::runtime::cuda {
namespace {

using experts::cuda::check;
using experts::cuda::Count;
using experts::cuda::DenseProblem;

DeviceMoeOptions moe_options(const DeviceJob& job) {
  const ModelConfig& config = job.config;
  return {.hidden = config.hidden, .width = config.expert_width, .top_k = config.experts_per_token, .norm_eps = config.rms_norm_eps,
          .weights = config.renormalise_top_k ? experts::TopKWeights::kRenormalised : experts::TopKWeights::kAsTheyAre,
          .precision = job.compute.precision,
          .kernel = job.kernel == "wgmma" ? experts::cuda::GroupedKernel::kWgmma : experts::cuda::GroupedKernel::kMma, .combine = job.exchange.combine, .overlap = job.exchange.overlap};
}

}  // namespace

DeviceTransformer::DeviceTransformer(const DeviceJob& job, ModelWeights& weights, std::unique_ptr<comm::DeviceLinks> links)
    : Transformer(job.config, job.compute),
      job_(job),
      stream_(experts::cuda::make_stream()),
      weights_(upload_weights(job.config, weights)),
      links_(std::move(links)),
      agreement_(job.comm),
      moe_(*links_, job.placement, job.comm.rank(), moe_options(job)),
      head_(job.config, weights_, dense_, job.compute.precision),
      tables_(job.config, job.compute.precision),
      graphs_(*links_, stream_.get(), job.exchange.trace),
      counts_(job.config.num_layers * job.config.num_experts),
      host_counts_(size(job.config.num_layers * job.config.num_experts)) {
  if (job.log != nullptr && job.kernel == "wgmma") {
    job.log->warning("experts are multiplied by wgmma, which has been tested on a simulator only");
  }
  prepare_products();
}

/// Each shape of product gets its algorithm for good, with the weights of the first layer.
void DeviceTransformer::prepare_products() {
  if (precision() == experts::Precision::kFloat32 || weights_.layers.empty()) {
    return;
  }
  cudaDeviceProp device{};
  int number = 0;
  check(cudaGetDevice(&number), "cudaGetDevice");
  check(cudaGetDeviceProperties(&device, number), "cudaGetDeviceProperties");
  const std::int64_t most_rows = std::int64_t{64} * device.multiProcessorCount;  // as many as keep all of it busy
  const auto prepare = [&](std::int64_t n, std::int64_t k, DenseProblem::Store store, const bfloat16* w) {
    dense_.prepare({.shape = {.n = n, .k = k, .y_stride = n, .store = store}, .w = w, .most_rows = most_rows}, stream_.get());
  };
  const DeviceLayer& layer = weights_.layers.front();
  for (const std::int64_t n : {query_width() + 2 * key_width(), 2 * key_width(), query_width()}) {
    prepare(n, config_.hidden, DenseProblem::Store::kWrite, layer.qkv.data());
  }
  prepare(config_.hidden, query_width(), DenseProblem::Store::kAdd, layer.output.data());
  for (const std::int64_t n : head_.widths()) {
    prepare(n, config_.hidden, DenseProblem::Store::kWrite, weights_.head.data());
  }
  for (const std::string& line : dense_.log()) {
    if (job_.log != nullptr) {
      job_.log->debug("{}", line);
    }
  }
}

/// Nothing that was queued may outlive the memory it uses; a device that has failed has nothing queued.
DeviceTransformer::~DeviceTransformer() { static_cast<void>(cudaStreamSynchronize(stream_.get())); }

void DeviceTransformer::begin(const StepBatch& batch, comm::Vote vote) {
  const experts::cuda::Range range("agree, send tables");
  batch_ = &batch;
  step_ = agreement_.agree(vote, {.rows = batch.num_rows(), .wanted = std::ssize(batch.wanted), .sequences = std::ssize(batch.sequences),
                                 .is_guided = !batch.guided.empty()});
  if (!has(step_.votes, comm::Vote::kWork)) {
    return;
  }
  if (graphs_.is_queued()) {  // nobody asked what the last pass found
    wait();
    graphs_.end();
  }
  const comm::StepShape shape = comm::shape_of(step_);
  const std::size_t rank = job_.comm.rank().at();
  make_room(shape);
  moe_.begin_step(shape);
  tables_.begin(shape, rank);
  graphs_.begin(shape);
  tables_.send(batch, own_.data(), stream_.get());
}

/// All ranks do this in the same step, since they know all shapes. NCCL may let a captured graph write into a peer's memory without a
/// copy between, and wants all ranks to replay or none (its user guide on buffer registration): so first every rank drops its graphs,
/// then all meet, and only then is memory freed.
void DeviceTransformer::make_room(const comm::StepShape& shape) {
  const comm::StepShape room = comm::room_for(room_, shape);
  if (room == room_) {
    return;
  }
  graphs_.forget();
  job_.comm.barrier();
  room_ = room;
  const std::size_t rank = job_.comm.rank().at();
  moe_.make_room(room);
  tables_.make_room(room, rank);
  const std::int64_t rows = room.rows[rank], wanted = room.wanted[rank];
  residual_.grow(rows * config_.hidden);
  asking_.grow(wanted * config_.hidden);
  normed_.grow(rows * config_.hidden * value_bytes());
  projected_.grow(rows * (query_width() + 2 * key_width()));
  queries_.grow(rows * query_width() * value_bytes());
  mixed_.grow(rows * query_width() * value_bytes());
  own_.grow(2 * rows * key_width() * value_bytes());
  final_.grow(wanted * config_.hidden);
  head_rows_.grow(wanted * config_.hidden * value_bytes());
}

void DeviceTransformer::run(const std::function<void()>& pass) {
  if (!has(step_.votes, comm::Vote::kWork)) {
    return;
  }
  const experts::cuda::Range range("queue layers");
  const std::size_t bytes = host_counts_.size() * sizeof(std::int64_t);
  check(cudaMemsetAsync(counts_.data(), 0, bytes, stream_.get()), "cudaMemsetAsync");
  if (times_ != nullptr) {
    pass();  // stage by stage
  } else {
    graphs_.run(pass);
  }
  moe_.count_step(config_.num_layers);
}

void DeviceTransformer::marked(Stage stage) {
  if (times_ != nullptr) {
    links_->wait(stream_.get());
    mark(times_, stage);
  }
}

void DeviceTransformer::embed() {
  const auto& a = tables_.arrays();
  experts::cuda::embed({.embedding = weights_.embedding.data(), .hidden = config_.hidden, .rows = tables_.rows(), .tokens = a.tokens,
                        .places = a.places, .weights = a.added_weights, .added = tables_.added(), .residual = residual_.data()},
                       stream_.get());
  marked(Stage::kEmbedding);
}

void DeviceTransformer::multiply(experts::cuda::Inputs x, const bfloat16* w, const Count& rows, std::int64_t n, std::int64_t k,
                                 DenseProblem::Store store, float* y) {
  dense_.multiply({.x = x, .w = w, .rows = rows, .n = n, .k = k, .store = store, .y = y, .y_stride = n}, stream_.get());
}

/// The whole of DeviceMoe's layer: router, exchange, experts, sums into the residual.
void DeviceTransformer::run_experts(std::int64_t index, std::size_t, Rows asking) {
  const DeviceLayer& layer = weights_.layers[size(index)];
  const bool all = asking == Rows::kAll;
  moe_.run({.norm = layer.post_attention_norm.data(), .router = layer.router.data(),
            .experts = {.gate_up = {layer.gate_up.data(), layer.expert_type}, .down = {layer.down.data(), layer.expert_type}}},
           all ? DeviceRows::kAll : DeviceRows::kWanted, all ? tables_.rows() : tables_.wanted(), residual(asking),
           counts_.data() + index * config_.num_experts, stream_.get());
  marked(Stage::kExperts);
}

void DeviceTransformer::norm_wanted() {
  const auto& a = tables_.arrays();
  const bool guided = tables_.is_guided();
  experts::cuda::rms_norm({.x = asking_.data(), .cols = config_.hidden, .rows = tables_.wanted(), .picked = nullptr,
                           .weight = weights_.final_norm.data(), .eps = config_.rms_norm_eps,
                           .y = guided ? experts::cuda::Outputs{final_.data(), experts::Precision::kFloat32} : values(head_rows_)},
                          stream_.get());
  if (guided) {
    experts::cuda::join_sides({.x = final_.data(), .cols = config_.hidden, .rows = tables_.joined(), .a = a.join_a, .b = a.join_b,
                               .weights = a.join_weights, .y = values(head_rows_)},
                              stream_.get());
  }
  moe_.fetch_wrong_choice(stream_.get());
  marked(Stage::kNorms);
}

/// For all that is queued.
void DeviceTransformer::wait() const {
  links_->wait(stream_.get());
  require_real_experts();
}

/// Behind a wait. A rank that takes rows for experts it was asked for can trust no row of a rank that asks for others.
void DeviceTransformer::require_real_experts() const {
  if (const auto wrong = moe_.wrong_choice()) {
    fail(ExitCode::kPeerLost, "rank {} (host {}) asks for expert {} for its row {}, there are {} experts: its memory or the wire is bad", wrong->rank,
         job_.comm.wires().job().hosts[wrong->rank.at()], wrong->id, wrong->row, config_.num_experts);
  }
}

std::vector<RowSummary> DeviceTransformer::summarise(std::span<const HeadQuery> queries) {
  const experts::cuda::Range range("head, wait for results");
  auto found = head_.summarise(values(head_rows_), queries, *links_, stream_.get());
  require_real_experts();
  graphs_.end();
  return found;
}

std::vector<float> DeviceTransformer::logits(std::int64_t begin, std::int64_t end) {
  auto found = head_.logits({head_rows_.data() + begin * config_.hidden * value_bytes(), precision()}, end - begin, *links_, stream_.get());
  require_real_experts();
  graphs_.end();
  return found;
}

std::vector<float> DeviceTransformer::rows() const {
  wait();
  const std::int64_t count = tables_.num_joined() * config_.hidden;
  std::vector<float> out(size(count));
  if (precision() == experts::Precision::kFloat32) {
    check(cudaMemcpy(out.data(), head_rows_.data(), size(count * 4), cudaMemcpyDefault), "cudaMemcpy of rows");
    return out;
  }
  std::vector<bfloat16> narrow_rows(size(count));
  check(cudaMemcpy(narrow_rows.data(), head_rows_.data(), size(count * 2), cudaMemcpyDefault), "cudaMemcpy of rows");
  std::transform(narrow_rows.begin(), narrow_rows.end(), out.begin(), to_float);
  return out;
}

std::span<const std::int64_t> DeviceTransformer::router_counts() const {
  wait();
  check(cudaMemcpy(host_counts_.data(), counts_.data(), host_counts_.size() * sizeof(std::int64_t), cudaMemcpyDefault), "cudaMemcpy of counts");
  return host_counts_;
}

comm::ExchangeStatistics DeviceTransformer::exchange_statistics() const {
  comm::ExchangeStatistics now = moe_.statistics(stream_.get());
  now.num_layers = size(graphs_.steps() * config_.num_layers);
  return now;
}

std::unique_ptr<KvMemory> DeviceTransformer::make_kv_memory(const KvShape& shape) const {
  try {
    return std::make_unique<DeviceKeyValues>(shape);
  } catch (const Error& error) {
    if (error.code() == ExitCode::kBadInput) {
      return nullptr;  // no memory left
    }
    throw;
  }
}

std::optional<std::uint64_t> DeviceTransformer::free_device_bytes() const {
  std::size_t left = 0, all = 0;
  check(cudaMemGetInfo(&left, &all), "cudaMemGetInfo");
  return left;
}

}  // namespace unmask::runtime::cuda
