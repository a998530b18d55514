// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include "runtime/sequence.h"

namespace unmask::runtime {

struct Engine::Impl {
  struct Running {
    std::unique_ptr<Sequence> sequence;
    std::int64_t last_step;  ///< that fed it, or when it came in
  };
  Transformer& transformer;
  std::int64_t max_rows;
  SequenceOptions sequence_options;
  EngineEvents events;
  KvPool pool;
  std::deque<Request> waiting;
  std::vector<Running> running;  ///< those that waited longest for a step come first
  Statistics statistics;

  void refuse(const Request& request, const Error& error);
  void require_memory(const Request& request) const;
  void admit();
  std::size_t pick();
  void decode(std::span<const Running> fed, const StepBatch& batch, std::span<const float> rows);
  void hand_out();
};

Engine::Engine(Transformer& transformer, EngineOptions options, EngineEvents events)
    : impl_(new Impl{.transformer = transformer,
                     .max_rows = options.max_rows,
                     .sequence_options = {.mask_token = options.mask_token,
                                          .eos_tokens = std::move(options.eos_tokens),
                                          .keep_trace = options.keep_trace,
                                          .stops_at_text = std::move(options.stops_at_text)},
                     .events = std::move(events),
                     .pool = {transformer.config(), transformer.precision(), options.kv_memory_bytes},
                     .waiting = {},
                     .running = {},
                     .statistics = {}}) {}

Engine::~Engine() = default;

Engine::Statistics Engine::statistics() const {
  Statistics now = impl_->statistics;
  now.kv_bytes = impl_->pool.used_bytes();
  now.kv_peak_bytes = impl_->pool.peak_bytes();
  return now;
}

namespace {

void require_token(TokenId token, std::int64_t vocab, std::string_view what) {
  require(token >= 0 && token < vocab, ExitCode::kBadInput, "{} {} lies outside the vocabulary of {} tokens (0 to {})", what,
          token, vocab, vocab - 1);
}

constexpr double kGuessedTokensPerPass = 4;

bool keeps_keys(const Request& request) { return request.options.cache != CachePolicy::kNone; }

}  // namespace

void require_runnable(const Request& request, const ModelConfig& config) {
  for (const TokenId token : request.prompt) {
    require_token(token, config.vocab_size, "prompt token");
  }
  if (request.options.mask_token) {
    require_token(*request.options.mask_token, config.vocab_size, "mask token");
  }
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  require(prompt <= config.max_positions && request.options.gen_length <= config.max_positions - prompt, ExitCode::kBadInput,
          "{} prompt tokens and gen-length {} are more than the model's {} positions (max_position_embeddings): shorten the "
          "prompt or the answer",
          prompt, request.options.gen_length, config.max_positions);
}

std::vector<Rank> spread_over_ranks(std::span<const Request> requests, std::int64_t num_ranks) {
  std::vector<double> rows(size(num_ranks));
  std::vector<Rank> ranks;
  for (const Request& request : requests) {
    const auto least = std::min_element(rows.begin(), rows.end());
    // A block's first pass feeds everything; tokens per pass are the same guess for all.
    const auto blocks = static_cast<double>(request.options.gen_length) / static_cast<double>(request.options.block_length);
    *least += std::ceil(blocks) * static_cast<double>(full_rows(request)) +
              static_cast<double>(request.options.gen_length) * static_cast<double>(usual_rows(request)) / kGuessedTokensPerPass;
    ranks.emplace_back(least - rows.begin());
  }
  return ranks;
}

void Engine::submit(Request request) {
  try {
    require_runnable(request, impl_->transformer.config());
    impl_->require_memory(request);
  } catch (const Error& error) {
    impl_->refuse(request, error);
    return;
  }
  impl_->waiting.push_back(std::move(request));
}

void Engine::Impl::refuse(const Request& request, const Error& error) {
  Answer refused;
  refused.number = request.number;
  refused.error = error;
  events.on_answer(request, std::move(refused));
}

void Engine::Impl::require_memory(const Request& request) const {
  const std::uint64_t bytes = keeps_keys(request) ? pool.bytes_for(full_rows(request)) : 0;
  require(bytes <= pool.budget_bytes(), ExitCode::kBadInput,
          "keys and values of {} positions need {} bytes, this rank has {} for them (--kv-memory): give it more, shorten the "
          "request, or use cache none",
          full_rows(request), bytes, pool.budget_bytes());
}

bool Engine::run_step() {
  impl_->admit();
  const std::span<const Impl::Running> fed(impl_->running.data(), impl_->pick());
  StepBatch batch;
  for (const auto& [sequence, last_step] : fed) {
    sequence->feed(batch);
  }
  const auto outcome = impl_->transformer.forward(batch, fed.empty() ? comm::Vote::kIdle : comm::Vote::kWork);
  if (!fed.empty()) {
    impl_->decode(fed, batch, outcome.rows);
    impl_->hand_out();
  }
  return has(outcome.votes, comm::Vote::kWork);
}

void Engine::Impl::admit() {
  std::int64_t rows = 0;
  for (const auto& [sequence, last_step] : running) {
    rows += usual_rows(sequence->request());
  }
  while (!waiting.empty()) {
    rows += usual_rows(waiting.front());
    if (!running.empty() && rows > max_rows) {
      return;
    }
    std::unique_ptr<KvStore> store = keeps_keys(waiting.front()) ? pool.take(full_rows(waiting.front())) : nullptr;
    if (store == nullptr && keeps_keys(waiting.front())) {
      if (!running.empty()) {
        return;
      }
      // Within the budget, and nobody holds any of it.
      refuse(waiting.front(), Error(ExitCode::kBadInput, format("there is no memory for the keys and values of {} positions, {} "
                                                                "bytes: free memory, or use cache none",
                                                                full_rows(waiting.front()), pool.bytes_for(full_rows(waiting.front())))));
    } else {
      running.push_back({std::make_unique<Sequence>(std::move(waiting.front()), sequence_options, std::move(store)), statistics.steps});
    }
    waiting.pop_front();
  }
}

/// Puts the sequences that the next step feeds to the front; returns how many they are.
std::size_t Engine::Impl::pick() {
  if (running.empty()) {
    return 0;
  }
  const std::int64_t now = ++statistics.steps;
  std::stable_sort(running.begin(), running.end(), [](const auto& a, const auto& b) { return a.last_step < b.last_step; });
  std::int64_t rows = 0;
  for (auto& [sequence, last_step] : running) {
    const std::int64_t more = sequence->window().num_rows();
    if (rows == 0 || rows + more <= max_rows) {
      rows += more;
      last_step = now;
    }
  }
  const auto end = std::stable_partition(running.begin(), running.end(), [&](const auto& one) { return one.last_step == now; });
  return static_cast<std::size_t>(end - running.begin());
}

void Engine::Impl::decode(std::span<const Running> fed, const StepBatch& batch, std::span<const float> rows) {
  statistics.rows += batch.num_rows();
  std::vector<HeadQuery> queries;
  std::vector<std::size_t> ends;
  for (const auto& [sequence, last_step] : fed) {
    sequence->ask(queries);
    ends.push_back(queries.size());
  }
  auto summaries = transformer.head().summarise(rows, queries);
  std::size_t begin = 0;
  for (std::size_t i = 0; i < fed.size(); ++i) {
    Sequence& sequence = *fed[i].sequence;
    const TraceStep& step = sequence.step({summaries.data() + begin, ends[i] - begin}, transformer.kernels());
    begin = ends[i];
    if (events.on_step) {
      events.on_step(sequence.request(), step, sequence.passes());
    }
  }
}

void Engine::Impl::hand_out() {
  for (auto& [sequence, last_step] : running) {
    if (sequence->finished()) {
      auto answer = sequence->take_answer();
      events.on_answer(sequence->request(), std::move(answer));
      sequence.reset();
    }
  }
  std::erase_if(running, [](const Running& one) { return one.sequence == nullptr; });
}

}  // namespace unmask::runtime
