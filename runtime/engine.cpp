// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "runtime/sequence.h"

namespace unmask::runtime {

struct Engine::Impl {
  Transformer& transformer;
  std::int64_t max_rows;
  SequenceOptions sequence_options;
  EngineEvents events;
  std::deque<Request> waiting;
  std::vector<std::unique_ptr<Sequence>> running;
  Statistics statistics;

  void admit();
  void decode(const StepBatch& batch, std::span<const float> rows);
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
                     .waiting = {},
                     .running = {},
                     .statistics = {}}) {}

Engine::~Engine() = default;

const Engine::Statistics& Engine::statistics() const { return impl_->statistics; }

namespace {

void require_token(TokenId token, std::int64_t vocab, std::string_view what) {
  require(token >= 0 && token < vocab, ExitCode::kBadInput, "{} {} lies outside the vocabulary of {} tokens (0 to {})", what,
          token, vocab, vocab - 1);
}

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

void Engine::submit(Request request) {
  try {
    require_runnable(request, impl_->transformer.config());
  } catch (const Error& error) {
    Answer refused;
    refused.number = request.number;
    refused.error = error;
    impl_->events.on_answer(request, std::move(refused));
    return;
  }
  impl_->waiting.push_back(std::move(request));
}

bool Engine::run_step() {
  impl_->admit();
  StepBatch batch;
  for (const auto& sequence : impl_->running) {
    sequence->feed(batch);
  }
  const auto outcome = impl_->transformer.forward(batch, impl_->running.empty() ? comm::Vote::kIdle : comm::Vote::kWork);
  if (!impl_->running.empty()) {
    impl_->decode(batch, outcome.rows);
    impl_->hand_out();
  }
  return has(outcome.votes, comm::Vote::kWork);
}

/// Waiting requests enter in order while their rows fit; a longer one runs when nothing else does.
void Engine::Impl::admit() {
  std::int64_t rows = 0;
  for (const auto& sequence : running) {
    rows += sequence->length();
  }
  while (!waiting.empty()) {
    const auto more = static_cast<std::int64_t>(waiting.front().prompt.size()) + waiting.front().options.gen_length;
    if (!running.empty() && rows + more > max_rows) {
      return;
    }
    rows += more;
    running.push_back(std::make_unique<Sequence>(std::move(waiting.front()), sequence_options));
    waiting.pop_front();
  }
}

void Engine::Impl::decode(const StepBatch& batch, std::span<const float> rows) {
  ++statistics.steps;
  statistics.rows += batch.num_rows();
  std::vector<HeadQuery> queries;
  std::vector<std::size_t> ends;
  for (const auto& sequence : running) {
    sequence->ask(queries);
    ends.push_back(queries.size());
  }
  const auto summaries = transformer.head().summarise(rows, queries);
  std::size_t begin = 0;
  for (std::size_t i = 0; i < running.size(); ++i) {
    auto& sequence = *running[i];
    const TraceStep& step = sequence.step({summaries.data() + begin, ends[i] - begin}, transformer.kernels());
    begin = ends[i];
    if (events.on_step) {
      events.on_step(sequence.request(), step, sequence.passes());
    }
  }
}

void Engine::Impl::hand_out() {
  for (auto& sequence : running) {
    if (sequence->finished()) {
      auto answer = sequence->take_answer();
      events.on_answer(sequence->request(), std::move(answer));
      sequence.reset();
    }
  }
  std::erase(running, nullptr);
}

}  // namespace unmask::runtime
