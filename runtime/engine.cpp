// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/clock.h"
#include "runtime/engine_impl.h"

namespace unmask::runtime {

Engine::Engine(Transformer& transformer, EngineOptions options, EngineEvents events)
    : impl_(new Impl{.transformer = transformer,
                     .max_rows = options.max_rows,
                     .sequence_options = {.mask_token = options.mask_token,
                                          .eos_tokens = std::move(options.eos_tokens),
                                          .keep_trace = options.keep_trace,
                                          .stops_at_text = std::move(options.stops_at_text)},
                     .events = std::move(events),
                     .pool = {transformer.config(), transformer.precision(), options.kv_memory_bytes,
                              [&transformer](const KvShape& shape) { return transformer.make_kv_memory(shape); }}}) {}

Engine::~Engine() = default;

Engine::Statistics Engine::statistics() const {
  Statistics now = impl_->statistics;
  now.waiting = impl_->waiting.size();
  now.running = std::ssize(impl_->running);
  now.kv_bytes = impl_->pool.used_bytes();
  now.kv_peak_bytes = impl_->pool.peak_bytes();
  return now;
}

namespace {

void require_token(TokenId token, std::int64_t vocab, std::string_view what) {
  require(token >= 0 && token < vocab, ExitCode::kBadInput, "{} {} lies outside the vocabulary of {} tokens (0 to {})", what,
          token, vocab, vocab - 1);
}

void require_number(std::int64_t value, std::int64_t least, std::string_view what) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  require(value >= least && value <= kMost, ExitCode::kBadInput, "{}: expected a number from {} to {}, found {}", what, least, kMost, value);
}

void require_real(double value, std::string_view what) {
  require(std::isfinite(value) && value >= 0, ExitCode::kBadInput, "{}: expected a finite number from 0, found {}", what, value);
}

/// What decoding relies on; a front end may allow less.
void require_sane(const SamplingOptions& options) {
  require_number(options.gen_length, 1, "gen-length");
  require_number(options.block_length, 1, "block-length");
  require_number(options.steps.value_or(1), 1, "steps");
  require_number(options.look_before, 0, "look-before");
  require_number(options.look_after, 0, "look-after");
  require_number(options.warmup, 0, "warmup");
  require_real(options.threshold, "threshold");
  require_real(options.factor, "factor");
  require_real(options.low_threshold, "low-threshold");
  require_real(options.credit_decay, "credit-decay");
  require_real(options.credit_power, "credit-power");
  require_real(options.credit_weight, "credit-weight");
  require_real(options.temperature, "temperature");
  require_real(options.cfg_scale, "cfg-scale");
  require_real(options.smoothing_weight, "smoothing-weight");
  require_real(options.smoothing_growth, "smoothing-growth");
  require_real(options.smoothing_cap, "smoothing-cap");
  require_real(options.threshold_decay, "threshold-decay");
}

}  // namespace

void require_runnable(const Request& request, const ModelConfig& config) {
  require_sane(request.options);
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
  require(request.priority >= -kMaxPriority && request.priority <= kMaxPriority, ExitCode::kBadInput,
          "expected a priority from {} to {}, found {}", -kMaxPriority, kMaxPriority, request.priority);
}

RequestHandle Engine::submit(Request request) {
  const RequestHandle handle = impl_->next_handle;
  ++impl_->next_handle;
  ++impl_->statistics.submitted;
  try {
    require_runnable(request, impl_->transformer.config());
    impl_->require_memory(request);
    impl_->waiting.push(handle, std::move(request), impl_->clock);
  } catch (const Error& error) {
    impl_->refused.push_back({handle, std::move(request), error});
  }
  return handle;
}

bool Engine::cancel(RequestHandle handle) {
  using State = Impl::Running::State;
  const auto has_handle = [&](const auto& one) { return one.handle == handle; };
  bool found = impl_->waiting.remove(handle) || std::erase_if(impl_->refused, has_handle) > 0;
  const auto one = std::ranges::find_if(impl_->running, has_handle);
  if (one != impl_->running.end() && one->state == State::kRuns) {
    one->state = State::kCancelled;
    found = true;
  }
  if (impl_->phase == Impl::Phase::kBetweenSteps) {
    impl_->sweep();
  }
  impl_->statistics.cancelled += found ? 1 : 0;
  return found;
}

void Engine::set_intake(Intake intake) { impl_->intake = intake; }
void Engine::vote_to_stop() { impl_->stop = comm::Vote::kStop; }
bool Engine::stop_was_voted() const { return impl_->stop_was_voted; }
bool Engine::was_idle() const { return !has(impl_->votes, comm::Vote::kWork); }

bool Engine::run_step() {
  UNMASK_CHECK(impl_->phase == Impl::Phase::kBetweenSteps, "run_step() was called from a callback");
  impl_->phase = Impl::Phase::kInStep;
  ++impl_->clock;
  impl_->admit();
  impl_->answer_refused();
  impl_->sweep();
  const std::span<const Impl::Running> fed(impl_->running.data(), impl_->pick());
  StepBatch batch;
  for (const auto& one : fed) {
    one.sequence->feed(batch);
  }
  const Stopwatch network;
  impl_->votes = impl_->transformer.forward(batch, impl_->vote(fed.size()));
  impl_->stop_was_voted = impl_->stop_was_voted || has(impl_->votes, comm::Vote::kStop);
  if (!was_idle()) {
    impl_->statistics.network += network.elapsed();
  }
  if (!fed.empty()) {
    impl_->statistics.rows += batch.num_rows();
    impl_->decode(fed);
    impl_->hand_out();
    impl_->sweep();
  }
  impl_->phase = Impl::Phase::kBetweenSteps;
  return has(impl_->votes, comm::Vote::kWork) || has(impl_->votes, comm::Vote::kOpen);
}

}  // namespace unmask::runtime
