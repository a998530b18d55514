// SPDX-License-Identifier: Apache-2.0
#include "launcher/bench/layer_bench.h"

#include <algorithm>
#include <charconv>

#include "base/byte_stream.h"
#include "base/clock.h"
#include "launcher/run/network.h"
#include "launcher/run/routing_file.h"

namespace unmask::launcher {
namespace {

constexpr std::int64_t kMaxRows = std::int64_t{1} << 20;

bench::ExpertShape shape_of(const OptionValues& options) {
  const bench::ExpertShape shape{.hidden = options.integer("hidden"), .width = options.integer("width"),
                                 .num_experts = options.integer("experts"), .top_k = options.integer("top-k")};
  require(shape.top_k <= shape.num_experts, ExitCode::kUsage, "--top-k {} of --experts {}", shape.top_k, shape.num_experts);
  return shape;
}

}  // namespace

LayerBench::LayerBench(const Job& job)
    : job_(job), shape_(shape_of(job.options())),
      placement_(read_placement(job.options().text("placement"), shape_.num_experts, job.comm.num_ranks())),
      team_(agree_on_threads(job)), skew_(bench::parse_skew(job.options().text("skew"))), link_(comm::probe_links(job.comm)) {
  auto options = exchange_options(job.options());
  options.hidden = shape_.hidden;
  options.link = link_;
  if (job.comm.num_ranks() > 1) {
    job.log.info("links between ranks: {:.1f} us, {:.3g} GB/s each way; {}", 1e6 * link_.latency_seconds, 1e-9 * link_.bytes_per_second,
                 comm::describe_choice(options));
  }
}

std::vector<std::int64_t> LayerBench::row_counts() const {
  std::vector<std::int64_t> counts;
  const std::string text = job_.options().text("tokens");
  const char* at = text.data();
  const char* end = text.data() + text.size();
  while (true) {
    std::int64_t count = 0;
    const auto [rest, error] = std::from_chars(at, end, count);
    require(error == std::errc() && (rest == end || *rest == ',') && count >= 0 && count <= kMaxRows, ExitCode::kUsage,
            "--tokens: expected rows per rank from 0 to {}, separated by commas, found '{}'", kMaxRows, text);
    counts.push_back(count);
    if (rest == end) {
      return counts;
    }
    at = rest + 1;
  }
}

bench::SyntheticRows LayerBench::make_rows(std::int64_t num_rows) const {
  if (skew_.kind != bench::Skew::Kind::kRecorded) {
    return {shape_, placement_, skew_, job_.comm.rank(), num_rows};
  }
  const auto recorded = read_routing_file(skew_.name, job_.comm.rank(), shape_.num_experts, shape_.top_k);
  std::vector<ExpertId> ids;
  while (std::cmp_less(ids.size(), num_rows * shape_.top_k)) {  // from the beginning again where there are too few
    ids.insert(ids.end(), recorded.begin(), recorded.begin() + std::min(std::ssize(recorded), num_rows * shape_.top_k - std::ssize(ids)));
  }
  return {shape_, job_.comm.rank(), std::move(ids)};
}

std::unique_ptr<comm::Exchange> LayerBench::make_exchange(comm::Overlap overlap, Trace* trace) const {
  auto options = exchange_options(job_.options());
  options.hidden = shape_.hidden;
  options.overlap = overlap;
  options.link = link_;
  options.trace = trace;
  return comm::make_exchange(job_.comm, placement_, team_, options);
}

std::vector<bench::Field> LayerBench::parameters(std::int64_t num_rows) const {
  return {{"tokens", num_rows}, {"hidden", shape_.hidden}, {"experts", shape_.num_experts}, {"top_k", shape_.top_k},
          {"skew", skew_.name}, {"combine", job_.options().text("combine")}};
}

double LayerBench::largest(double mine) const {
  double most = mine;
  for (const auto& bytes : job_.comm.all_gather(ByteWriter().put(mine).take())) {
    most = std::max(most, ByteReader(bytes).get<double>());
  }
  return most;
}

double LayerBench::total(double mine) const {
  double sum = 0;
  for (const auto& bytes : job_.comm.all_gather(ByteWriter().put(mine).take())) {
    sum += ByteReader(bytes).get<double>();
  }
  return sum;
}

double LayerBench::time_ms(const std::function<void()>& part) const {
  job_.comm.barrier();
  const Stopwatch clock;
  part();
  return largest(clock.seconds() * 1e3);
}

void run_layer(comm::Exchange& exchange, const bench::SyntheticRows& rows, std::span<float> values,
               const std::function<std::span<const float>(const cluster::ExpertWork&)>& compute) {
  exchange.dispatch(rows.values(), rows.routing(), {.vote = comm::Vote::kWork});
  exchange.arrive();
  for (std::int64_t chunk = 0; chunk < exchange.num_chunks(); ++chunk) {
    exchange.give_back(chunk, compute(exchange.receive(chunk)));
  }
  exchange.combine(values);
}

}  // namespace unmask::launcher
