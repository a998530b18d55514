// SPDX-License-Identifier: Apache-2.0
#include "launcher/bench/request_load.h"

#include <algorithm>

#include "base/byte_stream.h"
#include "base/clock.h"

namespace unmask::launcher {
namespace {

/// One rank's part of a load.
class Load {
 public:
  Load(Network& network, const runtime::EngineOptions& options, std::span<const runtime::Request> requests)
      : network_(network), requests_(requests),
        engine_(network.transformer(), options,
                {.on_block = [this](const runtime::Request& request, std::int64_t first, std::span<const TokenId>) {
                   note_block(request.number, first);
                 },
                 .on_answer = [this](const runtime::Request& request, runtime::Answer answer) { note_answer(request.number, std::move(answer)); }}) {}

  /// This rank's share of the places and requests, until all ranks are done.
  void run(const Job& job, std::int64_t concurrency) {
    const std::int64_t ranks = job.comm.num_ranks(), rank = job.comm.rank().value;
    const std::int64_t places = concurrency / ranks + (rank < concurrency % ranks ? 1 : 0);
    std::vector<std::int64_t> mine;
    for (std::int64_t i = 0; i < std::ssize(requests_); ++i) {
      if (i % concurrency % ranks == rank) {
        mine.push_back(i);
      }
    }
    job.comm.barrier();
    const Stopwatch clock;
    std::size_t next = 0;
    bool goes_on = true;
    while (goes_on) {
      for (; next < mine.size() && in_flight_ < places; ++next) {
        submit(mine[next]);
      }
      engine_.set_intake(next < mine.size() ? runtime::Intake::kOpen : runtime::Intake::kClosed);
      goes_on = engine_.run_step();
      if (!engine_.was_idle()) {
        ++steps_;
        step_counts_.add(network_.transformer().router_counts());
      }
    }
    seconds_ = clock.seconds();
  }

  std::vector<std::byte> pack() const {
    const auto now = engine_.statistics();
    ByteWriter out;
    out.put(seconds_).put(1 - now.network.count() / seconds_).put(steps_).put(now.passes).put(now.rows).put(now.tokens).put(failed_);
    out.put(now.kv_peak_bytes);
    out.put(first_block_ms_).put(inter_block_ms_).put(latency_ms_).put(std::uint64_t{answers_.size()});
    for (const auto& [number, tokens] : answers_) {
      out.put(number).put(tokens);
    }
    return out.take();
  }
  StepCounts take_step_counts() { return std::move(step_counts_); }

 private:
  struct Times {
    Stopwatch since_submitted = {};
    Stopwatch since_block = {};
  };

  void submit(std::int64_t i) {
    runtime::Request request = requests_[size(i)];
    request.number = i;
    times_[i] = {};
    ++in_flight_;
    engine_.submit(std::move(request));
  }
  void note_block(std::int64_t number, std::int64_t first) {
    Times& times = times_[number];
    (first == 0 ? first_block_ms_ : inter_block_ms_).push_back(1e3 * times.since_block.seconds());
    times.since_block = {};
  }
  void note_answer(std::int64_t number, runtime::Answer answer) {
    latency_ms_.push_back(1e3 * times_[number].since_submitted.seconds());
    failed_ += answer.error ? 1 : 0;
    answers_[number] = std::move(answer.tokens);
    --in_flight_;
  }

  Network& network_;
  std::span<const runtime::Request> requests_;
  runtime::Engine engine_;
  double seconds_ = 0;
  std::int64_t steps_ = 0, in_flight_ = 0, failed_ = 0;
  StepCounts step_counts_;
  std::map<std::int64_t, Times> times_;
  std::vector<double> first_block_ms_, inter_block_ms_, latency_ms_;
  std::map<std::int64_t, std::vector<TokenId>> answers_;
};

/// Of all steps so far; -1 on processors.
double device_idle_share(Network& network) {
  const auto times = network.transformer().device_times();
  return times ? times->idle_seconds / std::max(times->idle_seconds + times->busy_seconds, 1e-9) : -1;
}

void append(std::vector<double>& to, const std::vector<double>& from) { to.insert(to.end(), from.begin(), from.end()); }

void add_rank(LoadReport& all, ByteReader mine) {
  all.seconds = std::max(all.seconds, mine.get<double>());
  all.outside_share = std::max(all.outside_share, mine.get<double>());
  all.steps = std::max(all.steps, mine.get<std::int64_t>());
  for (std::int64_t* sum : {&all.passes, &all.rows, &all.tokens, &all.failed}) {
    *sum += mine.get<std::int64_t>();
  }
  all.kv_peak_bytes += mine.get<std::uint64_t>();
  for (std::vector<double>* list : {&all.first_block_ms, &all.inter_block_ms, &all.latency_ms}) {
    append(*list, mine.get_list<double>());
  }
  for (auto count = mine.get<std::uint64_t>(); count > 0; --count) {
    const auto number = mine.get<std::int64_t>();
    all.answers[number] = mine.get_list<TokenId>();
  }
}

}  // namespace

LoadReport run_load(const Job& job, Network& network, const runtime::EngineOptions& options, std::span<const runtime::Request> requests,
                    std::int64_t concurrency) {
  Load load(network, options, requests);
  load.run(job, concurrency);
  LoadReport all;
  for (const auto& bytes : job.comm.all_gather(load.pack())) {
    add_rank(all, ByteReader(bytes));
  }
  for (const auto& bytes : job.comm.all_gather(ByteWriter().put(device_idle_share(network)).take())) {
    all.device_idle_share = std::max(all.device_idle_share, ByteReader(bytes).get<double>());
  }
  all.step_counts = load.take_step_counts();
  return all;
}

}  // namespace unmask::launcher
