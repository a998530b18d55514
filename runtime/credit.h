// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "runtime/head.h"
#include "runtime/sampling.h"

namespace unmask::runtime {

/// A row's answer: the most probable token that is not the mask, and its probability under the softmax over all tokens.
struct Candidate {
  TokenId token = -1;
  float confidence = 0;
};

/// Reads the candidate off a summary without tokens apart; the sample, where noise was asked for.
Candidate candidate_of(const RowSummary& summary, const HeadQuery& query, const experts::KernelFamily& kernels);

/// The credit decoder's evidence for one masked position of a block (dInfer CreditThreshold, see tests/reference/decode.py):
/// each step decays it, then adds p^power to the arg max (the mask included); the decoder sees
/// logits + weight * ln(1 + credit). At most one new token per step has credit, so it is kept sparse, and the head returns
/// just these tokens' logits apart from the rest of the vocabulary.
class Credit {
 public:
  /// Tokens with credit, ascending: what the head keeps apart.
  std::span<const TokenId> tokens() const { return tokens_; }

  /// Takes one step's evidence and answers with it.
  Candidate step(const RowSummary& summary, const HeadQuery& query, const SamplingOptions& options);

 private:
  std::vector<TokenId> tokens_;
  std::vector<float> credit_;  ///< as tokens_
};

}  // namespace unmask::runtime
