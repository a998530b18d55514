// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "runtime/credit.h"
#include "runtime/kv_cache.h"
#include "runtime/request.h"
#include "runtime/step_batch.h"

namespace unmask::runtime {

struct SequenceOptions {
  TokenId mask_token = 0;
  std::vector<TokenId> eos_tokens;  ///< the first one fills an answer that ends early; may be empty
  bool keep_trace = false;
  std::function<bool(const Request&, std::span<const TokenId>)> stops_at_text;  ///< see EngineOptions
};

/// Rows of a pass that feeds everything, and positions of the store that it fills: with guidance, of both sides.
std::int64_t full_rows(const Request& request);

/// How many rows most passes of this request feed, an upper bound once its keys and values are stored.
std::int64_t usual_rows(const Request& request);

/// What a request holds of a rank's memory (KvPool) while it runs.
struct RequestMemory {
  std::uint64_t keys_and_values = 0;
  std::uint64_t smoothing = 0;  ///< expected embeddings of the answer's positions

  /// A model's lengths cannot overflow it.
  std::uint64_t bytes() const { return keys_and_values + smoothing; }
};
RequestMemory memory_of(const Request& request, const KvPool& pool);
bool keeps_keys(const Request& request);

/// One answer in the making: prompt and masks, finished block by block from left to right. Its cache policy says which
/// positions a pass feeds (tests/reference/decode.py); the keys and values of all others are those stored by earlier passes.
/// With guidance a pass has two sides: the sequence, and the same with the mask token at all prompt positions, each with keys
/// and values of its own.
class Sequence {
 public:
  struct Memory {
    std::unique_ptr<KvStore> store;  ///< of full_rows(request) positions; null for the policy none
    KvShare smoothing;               ///< as memory_of() says; null without smoothing
  };
  Sequence(Request request, const SequenceOptions& options, Memory memory);

  struct Window {
    std::int64_t begin = 0, end = 0;  ///< positions
    enum class Keys { kOwnRows, kStored } keys = Keys::kOwnRows;
    std::int64_t sides = 1;  ///< 2 with guidance

    std::int64_t num_positions() const { return end - begin; }
    std::int64_t num_rows() const { return num_positions() * sides; }
  };
  /// What the next pass feeds.
  Window window() const;

  const Request& request() const { return request_; }
  std::int64_t length() const { return static_cast<std::int64_t>(tokens_.size()); }
  bool finished() const { return finished_; }

  /// Appends the window to the batch, and to the wanted rows its masked ones of the active block; with smoothing, all masked ones
  /// of the answer.
  void feed(StepBatch& batch) const;
  /// What the head is to find for each of the wanted rows, in their order; valid until step().
  void ask(std::vector<HeadQuery>& queries) const;
  /// Decides from the answers, in the order of ask(), which positions are unmasked. A row whose logits are not finite ends this sequence alone.
  const TraceStep& step(std::span<RowSummary> rows, const experts::KernelFamily& kernels);

  /// Of a finished sequence.
  Answer take_answer();
  std::int64_t passes() const { return answer_.passes; }
  /// The answer's tokens in finished blocks.
  std::span<const TokenId> committed() const { return {tokens_.data() + prompt_length(), size(num_committed_)}; }

 private:
  void feed_side(StepBatch& batch, const Window& fed, std::span<const TokenId> tokens, std::int64_t store_begin) const;
  /// Masked positions behind the block whose logits smoothing asks for: from end_ to there.
  std::int64_t wanted_end(const Window& fed) const;
  /// Of the i-th wanted row.
  std::int64_t wanted_position(std::size_t i) const;
  bool fail_if_not_finite(std::span<const RowSummary> rows);
  void unmask(std::span<const RowSummary> rows, std::int64_t pass, const experts::KernelFamily& kernels);
  void smooth(std::span<RowSummary> rows, std::int64_t pass);
  void enter_block(std::int64_t block);
  void leave_block();
  bool block_holds_end() const;
  HeadQuery query_of(std::int64_t position, std::int64_t pass) const;
  std::int64_t prompt_length() const { return static_cast<std::int64_t>(request_.prompt.size()); }

  Request request_;
  const SequenceOptions& options_;
  std::unique_ptr<KvStore> store_;
  KvShare smoothing_share_;
  TokenId mask_;
  Noise noise_;
  std::vector<TokenId> tokens_;       ///< prompt, then gen_length tokens
  std::int64_t block_ = 0;
  std::int64_t begin_ = 0, end_ = 0;  ///< the active block's positions
  std::int64_t num_committed_ = 0;
  std::int64_t step_ = 0;             ///< of the block
  bool store_is_stale_ = true;        ///< the next pass with stored keys feeds everything
  std::vector<std::int64_t> masked_;  ///< masked positions of the block, ascending
  /// Smoothing: what is added to the mask's embedding at a position of the answer; empty before its first pass and once unmasked.
  struct Soft {
    float weight = 0;
    std::vector<float> values;  ///< [hidden]
  };
  std::vector<Soft> soft_;            ///< [gen_length] with smoothing, else empty
  std::vector<Credit> credit_;        ///< as the block's positions; only for the credit decoder
  TraceStep last_;
  Answer answer_;
  bool finished_ = false;
};

}  // namespace unmask::runtime
