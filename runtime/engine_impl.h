// SPDX-License-Identifier: Apache-2.0
// What the parts of the engine share: engine.cpp (its interface), engine_steps.cpp (what a step does).
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/engine.h"
#include "runtime/kv_cache.h"
#include "runtime/sequence.h"
#include "runtime/waiting_line.h"

namespace unmask::runtime {

struct Engine::Impl {
  struct Refused {
    RequestHandle handle;
    Request request;
    Error error;
  };
  struct Running {
    RequestHandle handle;
    std::unique_ptr<Sequence> sequence;
    std::int64_t last_step;  ///< that fed it, or when it came in
    enum class State { kRuns, kCancelled, kAnswered } state = State::kRuns;
  };
  Transformer& transformer;
  std::int64_t max_rows;
  SequenceOptions sequence_options;
  EngineEvents events;
  KvPool pool;
  WaitingLine waiting = {};
  std::deque<Refused> refused = {};   ///< to be told by the next step
  std::vector<Running> running = {};  ///< those that waited longest for a step come first
  Statistics statistics = {};         ///< what is counted; the rest is found when asked for
  RequestHandle next_handle = {};
  std::int64_t clock = 0;             ///< steps so far, idle ones too
  Intake intake = Intake::kClosed;
  comm::Vote stop = comm::Vote::kIdle;  ///< kStop once asked for
  comm::Vote votes = comm::Vote::kIdle; ///< of all ranks, in the last step
  enum class Phase { kBetweenSteps, kInStep } phase = Phase::kBetweenSteps;
  bool stop_was_voted = false;

  void require_memory(const Request& request) const;
  std::optional<Sequence::Memory> take_memory(const Request& request);
  void admit();
  void answer_refused();
  void sweep();
  std::size_t pick();
  comm::Vote vote(std::size_t num_fed) const;
  void decode(std::span<const Running> fed);
  void tell_step(const Running& one, const TraceStep& step, std::size_t told_before) const;
  void hand_out();
};

}  // namespace unmask::runtime
