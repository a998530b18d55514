// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <vector>

#include "launcher/text/wire.h"
#include "runtime/request.h"

namespace unmask::launcher {

/// Expectations that lie beside a checkpoint, in the form that tests/reference/make_golden.py writes.
struct GoldenLogits {
  std::vector<TokenId> tokens;
  std::vector<float> logits;                ///< [tokens, vocab]
  std::vector<std::int64_t> router_counts;  ///< [layers, experts]
};

struct GoldenDecodes {
  struct Step {
    std::vector<std::int64_t> window;     ///< begin and end of the positions fed
    std::vector<std::int64_t> positions;  ///< unmasked
    bool operator==(const Step&) const = default;
  };
  struct Case {
    TokenRequest request;
    std::vector<TokenId> tokens;
    std::int64_t passes = 0;
    std::int64_t rows = 0;
    std::vector<Step> steps;
  };
  std::vector<Case> cases;
  std::int64_t num_left_out = 0;  ///< cases with options that this version does not have
};

/// FOLDER/logits.safetensors; empty where there is none. Throws Error(kBadInput).
std::vector<GoldenLogits> read_golden_logits(const std::filesystem::path& folder, std::int64_t vocab);
/// FOLDER/decode.json.
GoldenDecodes read_golden_decodes(const std::filesystem::path& folder);

}  // namespace unmask::launcher
