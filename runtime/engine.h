// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "runtime/rank_loads.h"
#include "runtime/request.h"
#include "runtime/transformer.h"

namespace unmask::runtime {

struct EngineOptions {
  std::int64_t max_rows = 4096;       ///< rows per step on this rank; a single longer sequence still runs, alone
  std::uint64_t kv_memory_bytes = std::numeric_limits<std::uint64_t>::max();  ///< for keys and values kept between passes
  std::vector<TokenId> eos_tokens = {};  ///< an answer ends at the first of any of these; the first one fills what follows
  TokenId mask_token = 0;             ///< unless a request brings its own
  bool keep_trace = false;
  /// Whether this text of finished blocks holds one of the request's stop texts; called when a block is finished. May be empty.
  std::function<bool(const Request&, std::span<const TokenId>)> stops_at_text = {};
};

/// What an engine tells, on the rank that runs the request and only from within run_step(). Any may be empty, and any may call
/// submit() and cancel(), but not throw. For one request: drafts, a block when it is finished, and so on; the answer last.
struct EngineEvents {
  /// What a step unmasked just now.
  std::function<void(const Request&, const TraceStep&, std::int64_t passes)> on_draft = {};
  /// Tokens that will not change, `first` of them already told. What follows an answer's end is not told: end tokens fill it.
  std::function<void(const Request&, std::int64_t first, std::span<const TokenId> tokens)> on_block = {};
  std::function<void(const Request&, Answer)> on_answer = {};
};

/// Throws Error(kBadInput) if the request cannot run on this model: a token outside the vocabulary, more positions than it has,
/// a priority or sampling option out of its range. An empty prompt is legal.
void require_runnable(const Request& request, const ModelConfig& config);

/// Whether a rank that has nothing to do will get more.
enum class Intake { kClosed, kOpen };

/// Runs the requests of one rank, in lockstep with the engines of the other ranks of the transformer's exchange.
///
///   submit() -> waiting -> running -> on_answer      each handle ends in one answer, or in one cancel() that says so
///                  +----------+---- cancel()
///
/// A request waits until its keys and values fit into the memory for them, and the rows of all running requests' usual windows
/// into a step. They are admitted by priority and age (WaitingLine), strictly: what is next is not overtaken by a smaller one.
/// A step then takes the windows of those running that waited longest for their turn, as many as fit. A block's first pass
/// feeds a whole sequence, so some others may have to sit out a step; each is in time the one that waited longest, which is
/// always taken. None of this, nor any cancel, changes the tokens of another answer.
/// Any number of requests may wait: each costs its prompt. Used by one thread.
class Engine {
 public:
  Engine(Transformer& transformer, EngineOptions options, EngineEvents events);
  ~Engine();

  /// Queues a request on this rank; not collective, between any two steps or from a callback. One that cannot run
  /// (require_runnable; keys and values that could never fit) is answered with its error by the next step.
  RequestHandle submit(Request request);

  /// True: it was waiting or running, and nothing more will be heard of it. Its memory is free at once or, from within a
  /// callback, when the step is over. False: it was answered or cancelled before.
  bool cancel(RequestHandle handle);

  /// kOpen (kClosed at first): run_step() goes on although nobody has work. One open rank keeps all ranks together, so that a
  /// rank that was idle for long can be given requests.
  void set_intake(Intake intake);

  /// From the next step on this rank votes to stop; every rank sees it in the same step, and may cancel or finish its work.
  void vote_to_stop();
  bool stop_was_voted() const;  ///< by any rank, in a step so far

  /// One step of the running requests. Collective: every rank calls it until it returns false, which it does on all ranks
  /// together once no rank has work left and none is open. May be called again after that.
  bool run_step();
  /// No rank had rows in the last step: who waits for requests may rest, for less than the communicators' deadline.
  bool was_idle() const;

  struct Statistics {
    std::int64_t steps = 0;      ///< in which this rank had rows
    std::int64_t rows = 0;
    std::int64_t passes = 0;     ///< over single sequences; a step holds many
    std::int64_t tokens = 0;     ///< of answers, before their end tokens
    std::int64_t submitted = 0;  ///< = waiting + running + answered + cancelled + refused ones whose answer is due
    std::int64_t answered = 0;   ///< refused ones among them
    std::int64_t cancelled = 0;
    std::int64_t waiting = 0, running = 0;  ///< now
    std::uint64_t kv_bytes = 0;             ///< of keys and values held now
    std::uint64_t kv_peak_bytes = 0;
    std::chrono::duration<double> network{};  ///< in forward and head, of steps in which any rank had rows
  };
  Statistics statistics() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace unmask::runtime
