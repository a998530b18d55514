// SPDX-License-Identifier: Apache-2.0
#include "runtime/decoder.h"

#include <algorithm>

#include "base/types.h"

namespace unmask::runtime {
namespace {

using Positions = std::vector<std::int64_t>;

std::int64_t num_blocks(const SamplingOptions& options) {
  return (options.gen_length + options.block_length - 1) / options.block_length;
}

/// Masked positions, the most confident first.
Positions by_confidence(std::span<const float> confidence) {
  Positions order;
  for (std::size_t i = 0; i < confidence.size(); ++i) {
    if (confidence[i] > kNotMasked) {
      order.push_back(static_cast<std::int64_t>(i));
    }
  }
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return confidence[size(a)] > confidence[size(b)]; });
  return order;
}

/// How many of c1 >= c2 >= ... the factor rule takes.
std::int64_t factor_count(std::span<const float> confidence, const Positions& order, double factor) {
  std::size_t count = 1;
  while (count < order.size() &&
         confidence[size(order[count])] >= static_cast<float>(1.0 - factor / static_cast<double>(count + 2))) {
    ++count;
  }
  return static_cast<std::int64_t>(count);
}

/// The best position of each contiguous run of masked positions, where it is more confident than `low`.
Positions best_of_runs(std::span<const float> confidence, float low) {
  Positions picked;
  std::int64_t best = -1;
  for (std::size_t i = 0; i <= confidence.size(); ++i) {
    if (i < confidence.size() && confidence[i] > kNotMasked) {
      if (best < 0 || confidence[i] > confidence[size(best)]) {
        best = static_cast<std::int64_t>(i);
      }
    } else if (best >= 0) {
      if (confidence[size(best)] > low) {
        picked.push_back(best);
      }
      best = -1;
    }
  }
  return picked;
}

}  // namespace

std::int64_t planned_unmasks(const SamplingOptions& options, std::int64_t block_size, std::int64_t step) {
  const std::int64_t per_block = std::max<std::int64_t>(1, options.steps.value_or(options.gen_length) / num_blocks(options));
  return step < per_block ? block_size / per_block + (step < block_size % per_block ? 1 : 0) : 1;
}

StepPlan plan_step(const SamplingOptions& options, const StepPlace& place) {
  const double decayed = options.smoothing ? 1.0 - options.threshold_decay * static_cast<double>(place.pass) : options.threshold;
  return {.planned = planned_unmasks(options, place.block_size, place.step), .threshold = std::max(decayed, options.threshold)};
}

Positions choose_positions(std::span<const float> confidence, const SamplingOptions& options, const StepPlan& plan) {
  Positions order = by_confidence(confidence);
  UNMASK_CHECK(!order.empty(), "no masked position among {}", confidence.size());
  const auto threshold = static_cast<float>(plan.threshold);
  const auto above_threshold = [&] {
    const auto end = std::find_if(order.begin() + 1, order.end(), [&](auto i) { return confidence[size(i)] < threshold; });
    return static_cast<std::int64_t>(end - order.begin());
  };
  const auto first = [&](std::int64_t count) {
    order.resize(size(std::min(count, static_cast<std::int64_t>(order.size()))));
  };
  switch (options.decoder) {
    case DecoderKind::kSteps: first(std::max<std::int64_t>(1, plan.planned)); break;
    case DecoderKind::kThreshold:
    case DecoderKind::kCredit: first(above_threshold()); break;
    case DecoderKind::kFactor: first(factor_count(confidence, order, options.factor)); break;
    case DecoderKind::kHierarchy: {
      first(above_threshold());
      const Positions runs = best_of_runs(confidence, static_cast<float>(options.low_threshold));
      order.insert(order.end(), runs.begin(), runs.end());
      break;
    }
  }
  std::sort(order.begin(), order.end());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  return order;
}

}  // namespace unmask::runtime
