// SPDX-License-Identifier: Apache-2.0
#include "runtime/sequence.h"

#include <algorithm>
#include <utility>

#include "runtime/decoder.h"

namespace unmask::runtime {

std::int64_t usual_rows(const Request& request) {
  const SamplingOptions& options = request.options;
  const auto length = static_cast<std::int64_t>(request.prompt.size()) + options.gen_length;
  const std::int64_t block = std::min(options.block_length, options.gen_length);
  switch (options.cache) {
    case CachePolicy::kNone: break;
    case CachePolicy::kPrefix: return options.gen_length;
    case CachePolicy::kDual: return block;
    case CachePolicy::kVicinity: return std::min(length, options.look_before + block + options.look_after);
  }
  return length;
}

Sequence::Sequence(Request request, const SequenceOptions& options, std::unique_ptr<KvStore> store)
    : request_(std::move(request)),
      options_(options),
      store_(std::move(store)),
      mask_(request_.options.mask_token.value_or(options.mask_token)),
      noise_(request_.options.seed, request_.id),
      tokens_(request_.prompt) {
  tokens_.resize(tokens_.size() + size(request_.options.gen_length), mask_);
  answer_.number = request_.number;
  UNMASK_CHECK((store_ == nullptr) == (request_.options.cache == CachePolicy::kNone), "store of {}", request_.id);
  UNMASK_CHECK(store_ == nullptr || store_->length() == length(), "store of {} for {} positions", store_->length(), length());
  enter_block(0);
}

void Sequence::enter_block(std::int64_t block) {
  block_ = block;
  begin_ = prompt_length() + block * request_.options.block_length;
  end_ = std::min(begin_ + request_.options.block_length, length());
  step_ = 0;
  store_is_stale_ = true;
  masked_.clear();
  for (std::int64_t position = begin_; position < end_; ++position) {
    masked_.push_back(position);
  }
  if (request_.options.decoder == DecoderKind::kCredit) {
    credit_.assign(size(end_ - begin_), Credit());
  }
}

Sequence::Window Sequence::window() const {
  using Keys = Window::Keys;
  const SamplingOptions& options = request_.options;
  const bool warms_up = options.cache == CachePolicy::kVicinity && answer_.passes < options.warmup;
  if (warms_up || options.cache == CachePolicy::kNone) {
    return {0, length(), Keys::kOwnRows};
  }
  if (store_is_stale_) {
    return {0, length(), Keys::kStored};
  }
  switch (options.cache) {
    case CachePolicy::kNone: break;
    case CachePolicy::kPrefix: return {begin_, length(), Keys::kStored};
    case CachePolicy::kDual: return {begin_, end_, Keys::kStored};
    case CachePolicy::kVicinity:
      return {std::max<std::int64_t>(0, begin_ - options.look_before), std::min(length(), end_ + options.look_after), Keys::kStored};
  }
  UNMASK_CHECK(false, "cache policy {}", static_cast<int>(options.cache));
}

void Sequence::feed(StepBatch& batch) const {
  const Window fed = window();
  const std::span<const TokenId> tokens(tokens_.data() + fed.begin, size(fed.num_rows()));
  const std::int64_t first = batch.add(tokens, fed.begin, fed.keys == Window::Keys::kStored ? store_.get() : nullptr);
  for (const std::int64_t position : masked_) {
    batch.wanted.push_back(TokenRow(first + position - fed.begin));
  }
}

HeadQuery Sequence::query_of(std::int64_t position, std::int64_t pass) const {
  HeadQuery query{.excluded = mask_, .apart = {}};
  if (!credit_.empty()) {
    query.apart = credit_[size(position - begin_)].tokens();
  }
  if (request_.options.temperature > 0) {
    query.noise = TokenNoise{noise_, request_.options.temperature, position, pass};
  }
  return query;
}

void Sequence::ask(std::vector<HeadQuery>& queries) const {
  for (const std::int64_t position : masked_) {
    queries.push_back(query_of(position, answer_.passes));
  }
}

const TraceStep& Sequence::step(std::span<const RowSummary> rows, const experts::KernelFamily& kernels) {
  const Window fed = window();
  const std::int64_t pass = answer_.passes++;
  answer_.rows += fed.num_rows();
  store_is_stale_ = store_is_stale_ && fed.keys == Window::Keys::kOwnRows;
  last_ = {.block = block_, .window_begin = fed.begin, .window_end = fed.end, .unmasked = {}};
  std::vector<Candidate> candidates(size(end_ - begin_));
  std::vector<float> confidence(candidates.size(), kNotMasked);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].all.finite || std::any_of(rows[i].apart_logits.begin(), rows[i].apart_logits.end(),
                                           [](float x) { return !(x - x == 0); })) {
      answer_.error = Error(ExitCode::kBadInput, format("the logits of position {} are not finite in pass {}: the weights or "
                                                        "this prompt drive the network out of range", masked_[i], answer_.passes));
      finished_ = true;
      return last_;
    }
    const auto place = size(masked_[i] - begin_);
    const HeadQuery query = query_of(masked_[i], pass);
    candidates[place] = credit_.empty() ? candidate_of(rows[i], query, kernels)
                                        : credit_[place].step(rows[i], query, request_.options);
    if (request_.options.remasking == Remasking::kRandom) {
      candidates[place].confidence = static_cast<float>(noise_.uniform(Noise::Use::kRemasking, masked_[i], pass, 0));
    }
    confidence[place] = candidates[place].confidence;
  }
  const auto planned = planned_unmasks(request_.options, end_ - begin_, step_);
  for (const std::int64_t i : choose_positions(confidence, request_.options, planned)) {
    tokens_[size(begin_ + i)] = candidates[size(i)].token;
    last_.unmasked.push_back({begin_ + i, candidates[size(i)].token, candidates[size(i)].confidence});
  }
  ++step_;
  std::erase_if(masked_, [&](std::int64_t position) {
    return std::any_of(last_.unmasked.begin(), last_.unmasked.end(), [&](const auto& u) { return u.position == position; });
  });
  if (options_.keep_trace) {
    answer_.trace.push_back(last_);
  }
  if (masked_.empty()) {
    leave_block();
  }
  return last_;
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
