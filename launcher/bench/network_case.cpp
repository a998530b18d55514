// SPDX-License-Identifier: Apache-2.0
#include "launcher/bench/network_case.h"

#include <algorithm>
#include <limits>

#include "base/byte_stream.h"
#include "base/random.h"
#include "bench/plain_check.h"
#include "bench/synthetic_model.h"
#include "experts/quantised.h"
#include "launcher/run/network.h"
#include "launcher/run/trace_file.h"

namespace unmask::launcher {
namespace {

constexpr std::size_t kEnoughBytes = std::size_t{1} << 30;  ///< larger than a rank's share of any cache

runtime::ModelOptions model_options(const Job& job, Trace& trace) {
  runtime::ModelOptions options;
  options.precision = precision_of(job.options());
  options.expert_type = expert_type_of(job.options());
  options.device = job.options().text("device");
  options.device_kernel = job.options().text("device-kernel");
  options.kernel = job.options().text("kernel");
  options.sharing = sharing_of(job.options());
  options.pinning = job.options().text("pin") == "off" ? runtime::ModelOptions::Pinning::kOff : runtime::ModelOptions::Pinning::kAuto;
  if (job.options().given("threads")) {
    options.num_threads = narrow<int>(job.options().integer("threads"));
  }
  options.place = [placement = job.options().text("placement")](std::int64_t num_experts, std::int64_t num_ranks) {
    return read_placement(placement, num_experts, num_ranks);
  };
  options.exchange = exchange_options(job.options());
  options.exchange.trace = job.options().given("trace") ? &trace : nullptr;
  options.micro_batches = micro_batches(job.options());
  options.log = &job.log;
  return options;
}

/// Matrices of the network, layer by layer, until they are more than a cache holds.
std::vector<std::span<const std::byte>> enough_memory(const runtime::ModelWeights& weights) {
  std::vector<std::span<const std::byte>> pieces;
  std::size_t bytes = 0;
  const auto add = [&](const experts::Matrix& m) {
    const auto memory = memory_of(m);
    constexpr std::size_t kPiece = std::size_t{4} << 20;
    for (std::size_t at = 0; at < memory.size() && bytes < kEnoughBytes; at += kPiece) {
      pieces.push_back(memory.subspan(at, std::min(kPiece, memory.size() - at)));
      bytes += pieces.back().size();
    }
  };
  for (const auto& layer : weights.layers) {
    for (const auto& expert : layer.experts) {
      add(expert.gate);
      add(expert.up);
      add(expert.down);
    }
  }
  add(weights.head);
  add(weights.embedding);
  return pieces;
}

}  // namespace

NetworkBench::NetworkBench(const Job& job, const BenchPlan& plan, const runtime::ModelConfig& config)
    : job_(job),
      plan_(plan),
      config_(config),
      precision_(precision_of(job.options())),
      model_(job.comm, config, model_options(job, trace_)),
      pool_(config_, precision_, std::numeric_limits<std::int64_t>::max(),
            [this](const runtime::KvShape& shape) { return model_.transformer().make_kv_memory(shape); }) {
  const std::int64_t longest = std::max(plan.context, *std::max_element(plan.tokens.begin(), plan.tokens.end()));
  agreed(job.comm, [&] {
    require(longest <= config.max_positions, ExitCode::kUsage, "--tokens, --context: the network has {} positions, found {}",
            config.max_positions, longest);
    bench::check_network(model_.kernels(), {precision_, model_.expert_type()}, model_.num_threads(), model_.device());
  });
  as_agreed([&] { model_.make_weights(bench::synthetic_model); });
  job.comm.set_deadline({std::chrono::duration<double>(job.options().real("watchdog"))});
}

NetworkBench::Pass NetworkBench::make_pass(std::int64_t tokens) {
  Pass pass;
  const auto share = [&](std::int64_t all, std::int64_t i) { return all * (i + 1) / plan_.sequences - all * i / plan_.sequences; };
  for (std::int64_t i = 0; i < plan_.sequences; ++i) {
    add_sequence(pass, share(tokens, i), share(plan_.wanted, i));
  }
  return pass;
}

void NetworkBench::add_sequence(Pass& pass, std::int64_t tokens, std::int64_t wanted) {
  std::vector<TokenId> ids;
  const std::int64_t length = std::max(tokens, plan_.context);
  const auto stream = static_cast<std::uint32_t>(job_.comm.rank().value);
  const auto number = static_cast<std::uint32_t>(pass.batch.sequences.size());
  for (std::int64_t i = 0; i < length; ++i) {
    const auto word = philox({static_cast<std::uint32_t>(i), number, 0, 0}, {stream, 4})[0];
    ids.push_back(static_cast<TokenId>(word % static_cast<std::uint64_t>(config_.vocab_size)));
  }
  pass.num_keys = std::max(pass.num_keys, length);
  runtime::KvStore* store = nullptr;
  if (tokens < length) {
    store = pass.stores.emplace_back(pool_.take(length)).get();
    UNMASK_CHECK(store != nullptr, "a store for {} positions", length);
    runtime::StepBatch whole;  // fills the store; nobody wants its rows
    whole.add(ids, {.store = store, .length = length});
    model_.transformer().forward(whole, comm::Vote::kWork);
  }
  const std::int64_t first = length - tokens;
  const std::int64_t end = tokens + pass.batch.add(std::span(ids).subspan(size(first)), {.first_position = first, .store = store, .length = length});
  for (std::int64_t row = end - std::min(tokens, wanted); row < end; ++row) {
    pass.batch.wanted.emplace_back(row);
  }
}

void NetworkBench::write_recordings() const {
  if (job_.options().given("trace")) {
    write_trace(job_, trace_, job_.options().text("trace"));
  }
}

void NetworkBench::run(const Pass& pass, Part part) {
  runtime::Transformer& transformer = model_.transformer();
  times_.reset();
  transformer.forward(pass.batch, comm::Vote::kWork);
  if (part == Part::kForward) {
    const std::vector<runtime::HeadQuery> queries(pass.batch.wanted.size());
    transformer.summarise(queries);
    times_.mark(runtime::Stage::kHead);
  } else if (is_on_device()) {
    transformer.router_counts();  // waits for the pass
  }
}

/// In the last layer only the wanted rows ask.
void NetworkBench::add_attention(const Pass& pass, std::int64_t queries, std::vector<Need>& needs) const {
  const auto rows = static_cast<double>(pass.batch.num_rows());
  const auto asking = static_cast<double>(queries);
  const auto hidden = static_cast<double>(config_.hidden);
  const auto q_width = static_cast<double>(config_.num_heads * config_.head_dim);
  const auto kv_width = static_cast<double>(config_.num_kv_heads * config_.head_dim);
  const auto keys = static_cast<double>(pass.num_keys);
  const double value_bytes = precision_ == experts::Precision::kBfloat16 ? 2 : 4;
  needs.push_back({"qkv", 2 * hidden * (q_width + 2 * kv_width), 2 * hidden * (asking * q_width + 2 * rows * kv_width)});
  needs.push_back({"attention", 2 * value_bytes * static_cast<double>(plan_.sequences) * keys * kv_width, 4 * asking * keys * q_width});
  needs.push_back({"output", 2 * hidden * q_width, 2 * asking * q_width * hidden});
}

void NetworkBench::add_experts(std::vector<Need>& needs) const {
  const auto matrix = static_cast<double>(config_.hidden * config_.expert_width);
  const auto in_bytes = static_cast<double>(experts::stored_bytes(model_.expert_type(), config_.expert_width, config_.hidden));
  const auto out_bytes = static_cast<double>(experts::stored_bytes(model_.expert_type(), config_.hidden, config_.expert_width));
  const auto held = model_.placement().held_by(job_.comm.rank());
  for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
    double rows = 0, touched = 0;
    for (const ExpertId e : held) {
      const std::int64_t count = counts_[size(layer * config_.num_experts) + e.at()];
      rows += static_cast<double>(count);
      touched += count > 0 ? 1 : 0;
    }
    needs.push_back({"experts", 2 * in_bytes * touched, 2 * 2 * matrix * rows});
    needs.push_back({"experts", out_bytes * touched, 2 * matrix * rows});
  }
}

std::vector<Need> NetworkBench::needs_of(const Pass& pass, Part part) const {
  std::vector<Need> needs;
  const auto wanted = static_cast<std::int64_t>(pass.batch.wanted.size());
  for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
    const std::int64_t queries = layer + 1 < config_.num_layers ? pass.batch.num_rows() : wanted;
    add_attention(pass, queries, needs);
    const auto router = static_cast<double>(config_.num_experts * config_.hidden);
    needs.push_back({"router", 2 * router, 2 * router * static_cast<double>(queries)});
  }
  add_experts(needs);
  if (part == Part::kForward) {
    const auto head = static_cast<double>(config_.vocab_size * config_.hidden);
    needs.push_back({"head", 2 * head, 2 * head * static_cast<double>(wanted)});
  }
  return needs;
}

/// Collective: how many rows of all ranks chose each expert, layer by layer.
std::vector<std::int64_t> NetworkBench::experts_touched() {
  ByteWriter writer;
  for (const std::int64_t count : model_.transformer().router_counts()) {
    writer.put(count);
  }
  counts_.assign(size(config_.num_layers * config_.num_experts), 0);
  for (const auto& bytes : job_.comm.all_gather(writer.take())) {
    ByteReader reader(bytes);
    for (std::int64_t& count : counts_) {
      count += reader.get<std::int64_t>();
    }
  }
  std::vector<std::int64_t> touched;
  for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
    const auto begin = counts_.begin() + layer * config_.num_experts;
    touched.push_back(std::count_if(begin, begin + config_.num_experts, [](std::int64_t count) { return count > 0; }));
  }
  return touched;
}

bench::Record NetworkBench::measure(std::string_view name, Part part, std::int64_t tokens) {
  const Pass pass = make_pass(tokens);
  if (!is_on_device()) {  // where a pass that is measured stage by stage is another one
    model_.transformer().measure(&times_);
  }
  BenchCase one{.bench = std::string(name), .parameters = case_parameters(plan_, tokens), .tokens = tokens,
                .memory = enough_memory(model_.weights())};
  one.parameters.push_back({"sequences", plan_.sequences});
  one.parameters.push_back({"context", pass.num_keys});
  one.parameters.push_back({"wanted", static_cast<std::int64_t>(pass.batch.wanted.size())});
  one.run = [&] { run(pass, part); };
  one.needs = [&] {
    one.experts_touched = experts_touched();
    return needs_of(pass, part);
  };
  if (is_on_device()) {
    one.rates = runtime::device_backend()->rates();
  } else {
    one.times = &times_;
  }
  bench::Record record = measure_case(job_, plan_, model_.compute(), one);
  model_.transformer().measure(nullptr);
  return record;
}

}  // namespace unmask::launcher
