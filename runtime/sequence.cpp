// SPDX-License-Identifier: Apache-2.0
#include "runtime/sequence.h"

#include <algorithm>
#include <utility>

namespace unmask::runtime {
namespace {

std::int64_t num_sides(const Request& request) { return request.options.cfg_scale > 0 ? 2 : 1; }

std::int64_t num_positions(const Request& request) {
  return static_cast<std::int64_t>(request.prompt.size()) + request.options.gen_length;
}

std::int64_t usual_positions(const Request& request) {
  const SamplingOptions& options = request.options;
  const std::int64_t block = std::min(options.block_length, options.gen_length);
  switch (options.cache) {
    case CachePolicy::kNone: break;
    case CachePolicy::kPrefix: return options.gen_length;
    case CachePolicy::kDual: return block;
    case CachePolicy::kVicinity: return std::min(num_positions(request), options.look_before + block + options.look_after);
  }
  return num_positions(request);
}

}  // namespace

std::int64_t full_rows(const Request& request) { return num_sides(request) * num_positions(request); }
std::int64_t usual_rows(const Request& request) { return num_sides(request) * usual_positions(request); }
bool keeps_keys(const Request& request) { return request.options.cache != CachePolicy::kNone; }

RequestMemory memory_of(const Request& request, const KvPool& pool) {
  return {.keys_and_values = keeps_keys(request) ? pool.bytes_for(full_rows(request)) : 0,
          .smoothing = request.options.smoothing ? pool.bytes_for_embeddings(request.options.gen_length) : 0};
}

Sequence::Sequence(Request request, const SequenceOptions& options, Memory memory)
    : request_(std::move(request)),
      options_(options),
      store_(std::move(memory.store)),
      smoothing_share_(std::move(memory.smoothing)),
      mask_(request_.options.mask_token.value_or(options.mask_token)),
      noise_(request_.options.seed, request_.id),
      tokens_(request_.prompt) {
  tokens_.resize(tokens_.size() + size(request_.options.gen_length), mask_);
  answer_.number = request_.number;
  UNMASK_CHECK((store_ == nullptr) != keeps_keys(request_), "store of {}", request_.id);
  UNMASK_CHECK((smoothing_share_ != nullptr) == request_.options.smoothing, "memory for smoothing of {}", request_.id);
  UNMASK_CHECK(store_ == nullptr || store_->length() == full_rows(request_), "store of {} for {} positions", store_->length(),
               full_rows(request_));
  soft_.resize(request_.options.smoothing ? size(request_.options.gen_length) : 0);
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
  const std::int64_t sides = num_sides(request_);
  const bool warms_up = options.cache == CachePolicy::kVicinity && answer_.passes < options.warmup;
  if (warms_up || options.cache == CachePolicy::kNone) {
    return {0, length(), Keys::kOwnRows, sides};
  }
  if (store_is_stale_) {
    return {0, length(), Keys::kStored, sides};
  }
  switch (options.cache) {
    case CachePolicy::kNone: break;
    case CachePolicy::kPrefix: return {begin_, length(), Keys::kStored, sides};
    case CachePolicy::kDual: return {begin_, end_, Keys::kStored, sides};
    case CachePolicy::kVicinity:
      return {std::max<std::int64_t>(0, begin_ - options.look_before), std::min(length(), end_ + options.look_after), Keys::kStored,
              sides};
  }
  UNMASK_CHECK(false, "cache policy {}", static_cast<int>(options.cache));
}

std::int64_t Sequence::wanted_end(const Window& fed) const { return soft_.empty() ? end_ : std::max(end_, fed.end); }

void Sequence::feed(StepBatch& batch) const {
  const Window fed = window();
  const std::span<const TokenId> tokens(tokens_.data() + fed.begin, size(fed.num_positions()));
  const std::size_t first = batch.wanted.size();
  feed_side(batch, fed, tokens, 0);
  if (fed.sides == 2) {
    const std::size_t count = batch.wanted.size() - first;
    batch.guided.push_back({.first = static_cast<std::int64_t>(first), .count = static_cast<std::int64_t>(count),
                            .weight = static_cast<float>(request_.options.cfg_scale + 1)});
    std::vector<TokenId> without(tokens.begin(), tokens.end());
    std::fill_n(without.begin(), std::max<std::int64_t>(0, std::min(fed.end, prompt_length()) - fed.begin), mask_);
    feed_side(batch, fed, without, length());
  }
}

void Sequence::feed_side(StepBatch& batch, const Window& fed, std::span<const TokenId> tokens, std::int64_t store_begin) const {
  KvStore* const store = fed.keys == Window::Keys::kStored ? store_.get() : nullptr;
  const std::int64_t first =
      batch.add(tokens, {.first_position = fed.begin, .store = store, .store_begin = store_begin, .length = length()});
  const auto want = [&](std::int64_t position) {
    const TokenRow row(first + position - fed.begin);
    batch.wanted.push_back(row);
    if (!soft_.empty()) {
      const Soft& soft = soft_[size(position - prompt_length())];
      batch.added.push_back({row, soft.weight, soft.values});
    }
  };
  std::for_each(masked_.begin(), masked_.end(), want);
  for (std::int64_t position = end_; position < wanted_end(fed); ++position) {
    want(position);
  }
}

HeadQuery Sequence::query_of(std::int64_t position, std::int64_t pass) const {
  HeadQuery query{.excluded = mask_, .apart = {}};
  query.expectation = soft_.empty() ? Expectation::kNone : Expectation::kEmbedding;
  if (position >= end_) {
    return query;  // for smoothing alone
  }
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
  for (std::int64_t position = end_; position < wanted_end(window()); ++position) {
    queries.push_back(query_of(position, answer_.passes));
  }
}

}  // namespace unmask::runtime
