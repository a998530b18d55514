// SPDX-License-Identifier: Apache-2.0
#include "bench/pass_roofline.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace unmask::bench {
namespace {

constexpr double kBytesPerWeight = 2;

class Sum {
 public:
  explicit Sum(const MachineRates& machine) : machine_(machine) {}
  /// A stage that multiplies `products` times a weight with a value, and reads `bytes` of weights.
  void add(double products, double bytes) {
    const double compute = 2 * products / machine_.flops;
    const double read = bytes / machine_.bytes_per_second;
    (compute > read ? total.compute_seconds : total.read_seconds) += std::max(compute, read);
  }
  PassRoofline total = {};

 private:
  const MachineRates& machine_;
};

double total(std::span<const std::int64_t> counts) {
  return static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
}

}  // namespace

PassRoofline pass_roofline(const runtime::ModelConfig& config, double expert_bytes, const PassRows& rows, const MachineRates& machine) {
  const auto hidden = static_cast<double>(config.hidden);
  const double in = hidden * static_cast<double>((config.num_heads + 2 * config.num_kv_heads) * config.head_dim);
  const double out = hidden * static_cast<double>(config.num_heads * config.head_dim);
  const double expert = 3 * hidden * static_cast<double>(config.expert_width);
  Sum sum(machine);
  double fed = 0, wanted = 0;
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    const auto begin = static_cast<std::size_t>(layer * config.num_experts), count = static_cast<std::size_t>(config.num_experts);
    const auto computed = rows.computed.subspan(begin, count);
    const auto touched = static_cast<double>(std::ranges::count_if(computed, [](std::int64_t n) { return n > 0; }));
    wanted = total(rows.chosen.subspan(begin, count)) / static_cast<double>(config.experts_per_token);  // all rows but in the last layer
    fed = std::max(fed, wanted);
    if (fed > 0) {
      sum.add(fed * in + wanted * out, kBytesPerWeight * (in + out));
    }
    sum.add(total(computed) * expert, touched * expert_bytes);
  }
  if (wanted > 0) {
    const double head = hidden * static_cast<double>(config.vocab_size);
    sum.add(wanted * head, kBytesPerWeight * head);
  }
  return sum.total;
}

}  // namespace unmask::bench
