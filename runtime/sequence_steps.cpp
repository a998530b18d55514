// SPDX-License-Identifier: Apache-2.0
// What becomes of a sequence when a pass comes back.
#include <algorithm>
#include <utility>

#include "runtime/decoder.h"
#include "runtime/sequence.h"

namespace unmask::runtime {
namespace {

bool is_finite(float x) { return x - x == 0; }

}  // namespace

const TraceStep& Sequence::step(std::span<RowSummary> rows, const experts::KernelFamily& kernels) {
  const Window fed = window();
  const std::int64_t pass = answer_.passes++;
  answer_.rows += fed.num_rows();
  store_is_stale_ = store_is_stale_ && fed.keys == Window::Keys::kOwnRows;
  last_ = {.block = block_, .window_begin = fed.begin, .window_end = fed.end, .unmasked = {}};
  if (fail_if_not_finite(rows)) {
    return last_;
  }
  smooth(rows, pass);
  unmask(rows.first(masked_.size()), pass, kernels);
  ++step_;
  if (options_.keep_trace) {
    answer_.trace.push_back(last_);
  }
  if (masked_.empty()) {
    leave_block();
  }
  return last_;
}

std::int64_t Sequence::wanted_position(std::size_t i) const {
  return i < masked_.size() ? masked_[i] : end_ + static_cast<std::int64_t>(i - masked_.size());
}

bool Sequence::fail_if_not_finite(std::span<const RowSummary> rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].all.finite || !std::all_of(rows[i].apart_logits.begin(), rows[i].apart_logits.end(), is_finite)) {
      answer_.error = Error(ExitCode::kBadInput, format("the logits of position {} are not finite in pass {}: the weights or "
                                                        "this prompt drive the network out of range", wanted_position(i), answer_.passes));
      finished_ = true;
      return true;
    }
  }
  return false;
}

void Sequence::unmask(std::span<const RowSummary> rows, std::int64_t pass, const experts::KernelFamily& kernels) {
  std::vector<Candidate> candidates(size(end_ - begin_));
  std::vector<float> confidence(candidates.size(), kNotMasked);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto place = size(masked_[i] - begin_);
    const HeadQuery query = query_of(masked_[i], pass);
    candidates[place] = credit_.empty() ? candidate_of(rows[i], query, kernels)
                                        : credit_[place].step(rows[i], query, request_.options);
    if (request_.options.remasking == Remasking::kRandom) {
      candidates[place].confidence = static_cast<float>(noise_.uniform(Noise::Use::kRemasking, masked_[i], pass, 0));
    }
    confidence[place] = candidates[place].confidence;
  }
  const StepPlan plan = plan_step(request_.options, {.block_size = end_ - begin_, .step = step_, .pass = pass});
  for (const std::int64_t i : choose_positions(confidence, request_.options, plan)) {
    tokens_[size(begin_ + i)] = candidates[size(i)].token;
    last_.unmasked.push_back({begin_ + i, candidates[size(i)].token, candidates[size(i)].confidence});
    if (!soft_.empty()) {
      soft_[size(begin_ + i - prompt_length())] = {};
    }
  }
  std::erase_if(masked_, [&](std::int64_t position) {
    return std::any_of(last_.unmasked.begin(), last_.unmasked.end(), [&](const auto& u) { return u.position == position; });
  });
}

/// What the masked positions of this pass are fed besides the mask's embedding from now on (dInfer IterationSmooth).
void Sequence::smooth(std::span<RowSummary> rows, std::int64_t pass) {
  const SamplingOptions& options = request_.options;
  if (soft_.empty()) {
    return;
  }
  const double weight =
      std::min(options.smoothing_weight + options.smoothing_growth * static_cast<double>(pass), options.smoothing_cap);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    soft_[size(wanted_position(i) - prompt_length())] = {static_cast<float>(weight), std::move(rows[i].expected)};
  }
}

bool Sequence::block_holds_end() const {
  return std::any_of(tokens_.begin() + begin_, tokens_.begin() + end_, [&](TokenId token) {
    return std::find(options_.eos_tokens.begin(), options_.eos_tokens.end(), token) != options_.eos_tokens.end();
  });
}

void Sequence::leave_block() {
  num_committed_ = end_ - prompt_length();
  const bool at_end = request_.options.stop_at_eos && block_holds_end();
  const std::span<const TokenId> answered(tokens_.data() + prompt_length(), size(end_ - prompt_length()));
  const bool at_text = !request_.options.stop.empty() && options_.stops_at_text && options_.stops_at_text(request_, answered);
  if (at_end || (at_text && !options_.eos_tokens.empty())) {
    std::fill(tokens_.begin() + end_, tokens_.end(), options_.eos_tokens.front());
    end_ = length();
  }
  if (at_text) {
    answer_.finish_reason = FinishReason::kStop;
  }
  finished_ = end_ == length();
  if (!finished_) {
    enter_block(block_ + 1);
  }
}

Answer Sequence::take_answer() {
  UNMASK_CHECK(finished_, "sequence {} is still running", request_.id);
  if (!answer_.error) {
    answer_.tokens.assign(tokens_.begin() + prompt_length(), tokens_.end());
    const auto end = std::find_first_of(answer_.tokens.begin(), answer_.tokens.end(), options_.eos_tokens.begin(),
                                        options_.eos_tokens.end());
    answer_.text_tokens = end - answer_.tokens.begin();
    if (end != answer_.tokens.end()) {
      answer_.finish_reason = FinishReason::kStop;
    }
  }
  return std::move(answer_);
}

}  // namespace unmask::runtime
