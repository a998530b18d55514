// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "runtime/engine_impl.h"

namespace unmask::runtime {
namespace {

bool keeps_keys(const Request& request) { return request.options.cache != CachePolicy::kNone; }

}  // namespace

void Engine::Impl::require_memory(const Request& request) const {
  const std::uint64_t bytes = keeps_keys(request) ? pool.bytes_for(full_rows(request)) : 0;
  require(bytes <= pool.budget_bytes(), ExitCode::kBadInput,
          "keys and values of {} positions need {} bytes, this rank has {} for them (--kv-memory): give it more, shorten the "
          "request, or use cache none",
          full_rows(request), bytes, pool.budget_bytes());
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
    std::unique_ptr<KvStore> store = keeps_keys(next) ? pool.take(full_rows(next)) : nullptr;
    if (keeps_keys(next) && store == nullptr && !running.empty()) {
      return;
    }
    const bool fits = store != nullptr || !keeps_keys(next);
    auto [handle, request] = waiting.pop_front();
    if (fits) {
      running.push_back({handle, std::make_unique<Sequence>(std::move(request), sequence_options, std::move(store)), statistics.steps});
    } else {  // within the budget, and nobody holds any of it
      const Error error(ExitCode::kBadInput, format("there is no memory for the keys and values of {} positions, {} bytes: free "
                                                    "memory, or use cache none",
                                                    full_rows(request), pool.bytes_for(full_rows(request))));
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
