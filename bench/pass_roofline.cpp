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
  /// A stage that multiplies `products` times a weight with a value, and reads `weights` weights.
  void add(double products, double weights) {
    const double compute = 2 * products / machine_.flops;
    const double read = kBytesPerWeight * weights / machine_.bytes_per_second;
    (compute > read ? total.compute_seconds : total.read_seconds) += std::max(compute, read);
  }
  PassRoofline total = {};

 private:
  const MachineRates& machine_;
};

}  // namespace

PassRoofline pass_roofline(const runtime::ModelConfig& config, std::span<const std::int64_t> counts, const MachineRates& machine) {
  const auto hidden = static_cast<double>(config.hidden);
  const double in = hidden * static_cast<double>((config.num_heads + 2 * config.num_kv_heads) * config.head_dim);
  const double out = hidden * static_cast<double>(config.num_heads * config.head_dim);
  const double expert = 3 * hidden * static_cast<double>(config.expert_width);
  Sum sum(machine);
  double fed = 0, wanted = 0;
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    const auto of_layer = counts.subspan(static_cast<std::size_t>(layer * config.num_experts), static_cast<std::size_t>(config.num_experts));
    const auto pairs = static_cast<double>(std::accumulate(of_layer.begin(), of_layer.end(), std::int64_t{0}));
    const auto touched = static_cast<double>(std::ranges::count_if(of_layer, [](std::int64_t rows) { return rows > 0; }));
    wanted = pairs / static_cast<double>(config.experts_per_token);  // all rows but in the last layer
    fed = std::max(fed, wanted);
    if (fed > 0) {
      sum.add(fed * in + wanted * out, in + out);
      sum.add(pairs * expert, touched * expert);
    }
  }
  if (wanted > 0) {
    const double head = hidden * static_cast<double>(config.vocab_size);
    sum.add(wanted * head, head);
  }
  return sum.total;
}

}  // namespace unmask::bench
