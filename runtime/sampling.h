// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"

namespace unmask::runtime {

enum class DecoderKind { kThreshold, kSteps, kFactor, kCredit, kHierarchy };
enum class CachePolicy { kNone, kPrefix, kDual, kVicinity };
enum class Remasking { kLowConfidence, kRandom };

/// Everything a request may ask of the decoder; names, defaults and ranges as in DESIGN.md section 7.
struct SamplingOptions {
  std::int64_t gen_length = 128;           ///< tokens
  std::int64_t block_length = 32;          ///< tokens
  DecoderKind decoder = DecoderKind::kThreshold;
  std::optional<std::int64_t> steps = {};  ///< over the whole answer; gen_length unless given
  double threshold = 0.9;
  double factor = 1.0;
  double low_threshold = 0.4;
  double credit_decay = 0.8;
  double credit_power = 0.2;
  double credit_weight = 0.7;
  CachePolicy cache = CachePolicy::kDual;
  std::int64_t look_before = 16;           ///< positions
  std::int64_t look_after = 16;
  std::int64_t warmup = 4;                 ///< passes
  double temperature = 0;
  Remasking remasking = Remasking::kLowConfidence;
  double cfg_scale = 0;                    ///< above 0: classifier-free guidance
  std::uint64_t seed = 0;
  bool stop_at_eos = true;
  std::vector<std::string> stop = {};         ///< texts
  std::optional<TokenId> mask_token = {};  ///< replaces the checkpoint's
  bool smoothing = false;
  double smoothing_weight = 0.15;
  double smoothing_growth = 0.02;          ///< per pass
  double smoothing_cap = 0.3;
  double threshold_decay = 0.02;           ///< per pass
};

}  // namespace unmask::runtime
