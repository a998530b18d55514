// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "runtime/request.h"
#include "runtime/transformer.h"

namespace unmask::runtime {

struct EngineOptions {
  std::int64_t max_rows = 4096;       ///< rows per step on this rank; a single longer sequence still runs, alone
  std::uint64_t kv_memory_bytes = std::numeric_limits<std::uint64_t>::max();  ///< for keys and values kept between passes
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

/// Which rank runs which request: each in turn goes to the rank that has the fewest rows to come by then, as far as lengths and
/// cache policies tell. Every rank finds the same.
std::vector<Rank> spread_over_ranks(std::span<const Request> requests, std::int64_t num_ranks);

/// Runs the sequences of one rank, in lockstep with the engines of the other ranks.
///
/// A request waits until its keys and values fit into the memory for them, and the rows of all running sequences' usual windows
/// into a step; requests enter in the order of submission. A step then takes the windows of those running sequences that waited
/// longest for their turn, as many as fit. A block's first pass feeds a whole sequence, so some others may have to sit out a
/// step; each is in time the one that waited longest, which is always taken. None of this changes an answer.
class Engine {
 public:
  Engine(Transformer& transformer, EngineOptions options, EngineEvents events);
  ~Engine();

  /// Checks the request against the model and the memory (require_runnable; keys and values that could never fit) and queues
  /// it. A request that cannot run is answered at once with its error.
  void submit(Request request);

  /// One step of the running sequences. Collective: every rank calls it until it returns false, which it does on all ranks
  /// together once no rank has work left.
  bool run_step();

  struct Statistics {
    std::int64_t steps = 0;   ///< forwards this rank took part in with rows
    std::int64_t rows = 0;
    std::uint64_t kv_bytes = 0;  ///< of keys and values held now
    std::uint64_t kv_peak_bytes = 0;
  };
  Statistics statistics() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace unmask::runtime
