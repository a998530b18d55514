// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "runtime/engine_impl.h"

namespace unmask::runtime {
namespace {

std::string memory_text(const Request& request, const RequestMemory& needed) {
  std::string text;
  if (keeps_keys(request)) {
    text = format("keys and values of {} positions need {} bytes", full_rows(request), needed.keys_and_values);
  }
  if (request.options.smoothing) {
    text += format("{}smoothing of {} positions needs {} bytes", text.empty() ? "" : ", ", request.options.gen_length, needed.smoothing);
  }
  return text;
}

std::string ways_out(const Request& request) {
  return format("shorten the request{}{}", keeps_keys(request) ? ", use cache none" : "",
                request.options.smoothing ? ", leave smoothing off" : "");
}

}  // namespace

void Engine::Impl::require_memory(const Request& request) const {
  const RequestMemory needed = memory_of(request, pool);
  require(needed.bytes() <= pool.budget_bytes(), ExitCode::kBadInput, "{}; this rank has {} bytes for them (--kv-memory): give it more, {}",
          memory_text(request, needed), pool.budget_bytes(), ways_out(request));
}

/// Nothing: it does not fit now.
std::optional<Sequence::Memory> Engine::Impl::take_memory(const Request& request) {
  Sequence::Memory memory;
  if (request.options.smoothing) {
    memory.smoothing = pool.reserve(memory_of(request, pool).smoothing);
  }
  if (keeps_keys(request)) {
    memory.store = pool.take(full_rows(request));
  }
  const bool is_whole = (memory.smoothing != nullptr || !request.options.smoothing) && (memory.store != nullptr || !keeps_keys(request));
  return is_whole ? std::optional(std::move(memory)) : std::nullopt;
}

void Engine::Impl::admit() {
  std::int64_t rows = 0;
  for (const Running& one : running) {
    rows += usual_rows(one.sequence->request());
  }
  while (!waiting.empty()) {
    const Request& next = waiting.front();
    rows += usual_rows(next);
    if (!running.empty() && rows > max_rows) {
      return;
    }
    std::optional<Sequence::Memory> memory = take_memory(next);
    if (!memory && !running.empty()) {
      return;
    }
    auto [handle, request] = waiting.pop_front();
    if (memory) {
      running.push_back({handle, std::make_unique<Sequence>(std::move(request), sequence_options, std::move(*memory)), statistics.steps});
    } else {  // within the budget, and nobody holds any of it
      const Error error(ExitCode::kBadInput, format("{}, and this host has no memory for them: free some, {}",
                                                    memory_text(request, memory_of(request, pool)), ways_out(request)));
      refused.push_back({handle, std::move(request), error});
    }
  }
}

/// Those that a callback adds meanwhile wait for the next step.
void Engine::Impl::answer_refused() {
  for (std::size_t n = refused.size(); n > 0 && !refused.empty(); --n) {
    const Refused one = std::move(refused.front());
    refused.pop_front();
    Answer answer;
    answer.number = one.request.number;
    answer.error = one.error;
    ++statistics.answered;
    if (events.on_answer) {
      events.on_answer(one.request, std::move(answer));
    }
  }
}

/// Drops the sequences that were cancelled or handed out, with their keys and values.
void Engine::Impl::sweep() {
  std::erase_if(running, [](const Running& one) { return one.state != Running::State::kRuns; });
}

/// Puts the sequences that the next step feeds to the front; returns how many they are.
std::size_t Engine::Impl::pick() {
  if (running.empty()) {
    return 0;
  }
  const std::int64_t now = ++statistics.steps;
  std::ranges::stable_sort(running, {}, &Running::last_step);
  std::int64_t rows = 0;
  for (Running& one : running) {
    const std::int64_t more = one.sequence->window().num_rows();
    if (rows == 0 || rows + more <= max_rows) {
      rows += more;
      one.last_step = now;
    }
  }
  const auto end = std::stable_partition(running.begin(), running.end(), [&](const auto& one) { return one.last_step == now; });
  return static_cast<std::size_t>(end - running.begin());
}

comm::Vote Engine::Impl::vote(std::size_t num_fed) const {
  const bool more_comes = intake == Intake::kOpen || !waiting.empty() || !refused.empty();  // the latter two from callbacks
  return (num_fed > 0 ? comm::Vote::kWork : comm::Vote::kIdle) | (more_comes ? comm::Vote::kOpen : comm::Vote::kIdle) | stop;
}

void Engine::Impl::decode(std::span<const Running> fed) {
  std::vector<HeadQuery> queries;
  std::vector<std::size_t> ends;
  for (const Running& one : fed) {
    one.sequence->ask(queries);
    ends.push_back(queries.size());
  }
  const Stopwatch network;
  auto summaries = transformer.summarise(queries);
  statistics.network += network.elapsed();
  std::size_t begin = 0;
  for (std::size_t i = 0; i < fed.size(); ++i) {
    Sequence& sequence = *fed[i].sequence;
    const std::size_t told = sequence.committed().size();
    const TraceStep& step = sequence.step({summaries.data() + begin, ends[i] - begin}, transformer.kernels());
    begin = ends[i];
    ++statistics.passes;
    tell_step(fed[i], step, told);
  }
}

void Engine::Impl::tell_step(const Running& one, const TraceStep& step, std::size_t told_before) const {
  const Sequence& sequence = *one.sequence;
  if (events.on_draft && one.state == Running::State::kRuns) {
    events.on_draft(sequence.request(), step, sequence.passes());
  }
  const auto committed = sequence.committed();
  if (events.on_block && committed.size() > told_before && one.state == Running::State::kRuns) {
    events.on_block(sequence.request(), static_cast<std::int64_t>(told_before), committed.subspan(told_before));
  }
}

void Engine::Impl::hand_out() {
  for (Running& one : running) {
    if (!one.sequence->finished() || one.state != Running::State::kRuns) {
      continue;
    }
    one.state = Running::State::kAnswered;
    Answer answer = one.sequence->take_answer();
    ++statistics.answered;
    statistics.tokens += answer.text_tokens;
    if (events.on_answer) {
      events.on_answer(one.sequence->request(), std::move(answer));
    }
  }
}

}  // namespace unmask::runtime
