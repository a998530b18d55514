// SPDX-License-Identifier: Apache-2.0
#include "runtime/credit.h"

#include <algorithm>
#include <cmath>

namespace unmask::runtime {

Candidate candidate_of(const RowSummary& summary, const HeadQuery& query, const experts::KernelFamily& kernels) {
  const auto& all = summary.all;
  const TokenId token = query.noise ? summary.sample.token : all.best_token;
  const float logit = query.noise ? summary.sample.logit : all.best;
  return {token, kernels.exponential(logit - all.top) / (1.0F + all.others)};
}

Candidate Credit::step(const RowSummary& summary, const HeadQuery& query, const SamplingOptions& options) {
  // The row's plain favourite: the best of the rest or one of the tokens apart; equal logits: the lowest token.
  const auto& rest = summary.all;
  TokenId favourite = rest.top_token;
  double top = favourite < 0 ? -INFINITY : double{rest.top};
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const double logit = summary.apart_logits[i];
    if (logit > top || (logit == top && tokens_[i] < favourite)) {
      top = logit;
      favourite = tokens_[i];
    }
  }
  double total = favourite < 0 || rest.top_token < 0 ? 0.0 : (1.0 + double{rest.others}) * std::exp(double{rest.top} - top);
  for (const float logit : summary.apart_logits) {
    total += std::exp(double{logit} - top);
  }
  const float probability = 1.0F / static_cast<float>(total);

  for (float& credit : credit_) {
    credit *= static_cast<float>(options.credit_decay);
  }
  std::vector<float> logits = summary.apart_logits;
  const auto place = std::lower_bound(tokens_.begin(), tokens_.end(), favourite);
  const auto at = place - tokens_.begin();
  const bool is_new = place == tokens_.end() || *place != favourite;
  if (is_new) {
    tokens_.insert(place, favourite);
    credit_.insert(credit_.begin() + at, 0.0F);
    logits.insert(logits.begin() + at, rest.top);
  }
  credit_[static_cast<std::size_t>(at)] += static_cast<float>(std::pow(double{probability}, options.credit_power));

  // Now the answer: tokens with credit at their raised logits, all others as they were.
  double raised_top = rest.top_token < 0 ? -INFINITY : double{rest.top};
  const auto score_of = [&](TokenId token, double logit) { return query.noise ? query.noise->noised(token, logit) : logit; };
  Sample best;
  double best_logit = -INFINITY;
  const Sample rest_best = query.noise ? summary.sample : Sample{rest.best_token, rest.best, double{rest.best}};
  if (rest_best.token >= 0 && !(is_new && rest_best.token == favourite)) {  // else it comes below, at its raised logit
    best = rest_best;
    best_logit = double{rest_best.logit};
  }
  std::vector<double> raised(tokens_.size());
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    raised[i] = double{logits[i]} + options.credit_weight * std::log1p(double{credit_[i]});
    raised_top = std::max(raised_top, raised[i]);
    if (tokens_[i] != query.excluded) {
      const double score = score_of(tokens_[i], raised[i]);
      if (score > best.noised || (score == best.noised && tokens_[i] < best.token)) {
        best = {tokens_[i], logits[i], score};
        best_logit = raised[i];
      }
    }
  }
  double raised_total = 0;
  if (rest.top_token >= 0) {
    raised_total = (double{rest.others} + (is_new ? 0.0 : 1.0)) * std::exp(double{rest.top} - raised_top);
  }
  for (const double logit : raised) {
    raised_total += std::exp(logit - raised_top);
  }
  // The last rounding as in a softmax in float32: a threshold of 1 is reached where the others are lost beside the best.
  return {best.token, static_cast<float>(std::exp(best_logit - raised_top)) / static_cast<float>(raised_total)};
}

}  // namespace unmask::runtime
