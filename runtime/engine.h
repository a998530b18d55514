// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "runtime/request.h"
#include "runtime/transformer.h"

namespace unmask::runtime {

struct EngineOptions {
  std::int64_t max_rows = 4096;       ///< rows per step on this rank; a single longer sequence still runs, alone
  std::vector<TokenId> eos_tokens;    ///< an answer ends at the first of any of these; the first one fills what follows
  TokenId mask_token = 0;             ///< unless a request brings its own
  bool keep_trace = false;
  /// Whether this text of finished blocks holds one of the request's stop texts; called when a block is finished. May be empty.
  std::function<bool(const Request&, std::span<const TokenId>)> stops_at_text;
};

/// What an engine tells while it works; called on the rank that runs the sequence.
struct EngineEvents {
  /// After each step of a running sequence: what was unmasked just now.
  std::function<void(const Request&, const TraceStep&, std::int64_t passes)> on_step;
  std::function<void(const Request&, Answer)> on_answer;
};

/// Throws Error(kBadInput) if the request cannot run on this model: a token outside the vocabulary, more positions than it has.
void require_runnable(const Request& request, const ModelConfig& config);

/// Runs the sequences of one rank, in lockstep with the engines of the other ranks.
class Engine {
 public:
  Engine(Transformer& transformer, EngineOptions options, EngineEvents events);
  ~Engine();

  /// Checks the request against the model (tokens in the vocabulary, length, options that are built) and queues it. A
  /// request that cannot run is answered at once with its error.
  void submit(Request request);

  /// One step of every running sequence. Collective: every rank calls it until it returns false, which it does on all ranks
  /// together once no rank has work left.
  bool run_step();

  struct Statistics {
    std::int64_t steps = 0;   ///< forwards this rank took part in with rows
    std::int64_t rows = 0;
  };
  const Statistics& statistics() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace unmask::runtime
