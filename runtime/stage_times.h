// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>

#include "base/clock.h"

namespace unmask::runtime {

/// The stages of a pass, in the order in which it reaches them. QKV: with QK norm, RoPE and the writing of keys and values; output
/// and exchange: with the residual behind them; router: with the norm before it.
enum class Stage { kEmbedding, kNorms, kQkv, kAttention, kOutput, kRouter, kExperts, kExchange, kHead, kCount };

constexpr std::string_view name_of(Stage stage) {
  constexpr std::string_view kNames[] = {"embedding", "norms",    "qkv",      "attention", "output",
                                         "router",    "experts", "exchange", "head"};
  return kNames[static_cast<std::size_t>(stage)];
}

/// How long each stage of a pass took on this rank. Whoever measures resets it; the pass marks the end of each stage.
class StageTimes {
 public:
  void reset() {
    seconds_ = {};
    clock_ = Stopwatch();
  }
  /// What has passed since the last mark belongs to `stage`.
  void mark(Stage stage) {
    seconds_[static_cast<std::size_t>(stage)] += clock_.seconds();
    clock_ = Stopwatch();
  }
  double seconds(Stage stage) const { return seconds_[static_cast<std::size_t>(stage)]; }

 private:
  std::array<double, static_cast<std::size_t>(Stage::kCount)> seconds_{};
  Stopwatch clock_;
};

/// Marks where somebody measures; costs a comparison where nobody does.
inline void mark(StageTimes* times, Stage stage) {
  if (times != nullptr) {
    times->mark(stage);
  }
}

}  // namespace unmask::runtime
