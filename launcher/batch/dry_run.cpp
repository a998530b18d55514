// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/dry_run.h"

#include <algorithm>
#include <map>
#include <thread>

#include "base/clock.h"
#include "launcher/batch/request_pump.h"
#include "launcher/run/network.h"
#include "runtime/rank_loads.h"
#include "runtime/sequence.h"

namespace unmask::launcher {
namespace {

constexpr std::int64_t kErrorsShown = 10;

/// What the input asks for.
struct Survey {
  std::int64_t requests = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t answer_tokens = 0;
  std::int64_t longest = 0;       ///< positions
  std::map<std::uint64_t, std::int64_t> requests_by_bytes;  ///< that they keep between passes
  double rows = 0;                ///< to feed, as far as lengths and cache policies tell
  std::map<std::string, std::int64_t> errors;
  std::vector<std::string> first_errors;
};

void count(Survey& survey, const Prepared& prepared, const runtime::KvPool& pool) {
  ++survey.requests;
  if (prepared.refused) {
    ++survey.errors[prepared.ticket.error_kind];
    if (std::ssize(survey.first_errors) < kErrorsShown) {
      const std::string line = format("line {}: ", prepared.ticket.number), why = prepared.refused->what();
      survey.first_errors.push_back(why.starts_with(line) ? why : line + why);
    }
    return;
  }
  const runtime::Request request = prepared.request->to_request();
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  survey.prompt_tokens += prompt;
  survey.answer_tokens += request.options.gen_length;
  survey.longest = std::max(survey.longest, prompt + request.options.gen_length);
  ++survey.requests_by_bytes[runtime::memory_of(request, pool).bytes()];
  survey.rows += runtime::predicted_rows(request);
}

Survey survey_input(const Job& job, const Network& network) {
  ModelText text;
  text.read(network.files());
  RequestPump pump({.input = job.options().text("input"), .model_name = {}}, Tokenizing{job.options(), text, network.config()}, AnsweredSet());
  const runtime::KvPool pool(network.config(), precision_of(job.options()), 0);
  Survey survey;
  for (;;) {
    switch (pump.state()) {
      case RequestPump::State::kMore:
        count(survey, pump.take(), pool);
        break;
      case RequestPump::State::kWaiting:
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        break;
      case RequestPump::State::kAtEnd:
        return survey;
    }
  }
}

/// Requests that will be refused because they could never fit.
void count_too_large(Survey& survey, std::uint64_t kv_memory_bytes) {
  for (auto at = survey.requests_by_bytes.upper_bound(kv_memory_bytes); at != survey.requests_by_bytes.end(); ++at) {
    survey.errors["not_runnable"] += at->second;
  }
}

/// Collective. Seconds of one pass with `rows` rows on every rank; the first one, which warms up, is not counted.
double time_a_pass(const Job& job, Network& network, std::int64_t rows) {
  double seconds = 0;
  for (int round = 0; round < 2; ++round) {
    runtime::StepBatch batch;
    batch.add(std::vector<TokenId>(size(rows), 0));
    job.comm.barrier();
    const Stopwatch clock;
    network.transformer().forward(batch, comm::Vote::kWork);
    job.comm.barrier();
    seconds = clock.seconds();
  }
  return seconds;
}

std::string report(const Job& job, Network& network, const Survey& survey, double rows_per_second) {
  std::int64_t failed = 0;
  std::string text;
  for (const auto& [kind, number] : survey.errors) {
    failed += number;
  }
  text += format("requests: {}, {} of them cannot be answered\n", survey.requests, failed);
  for (const auto& [kind, number] : survey.errors) {
    text += format("  {}: {}\n", kind, number);
  }
  for (const std::string& error : survey.first_errors) {
    text += format("  {}\n", error);
  }
  text += format("tokens: {} of prompts, at most {} of answers; the longest request has {} positions\n", survey.prompt_tokens,
                 survey.answer_tokens, survey.longest);
  const std::uint64_t most_bytes = survey.requests_by_bytes.empty() ? 0 : survey.requests_by_bytes.rbegin()->first;
  text += format("memory per rank: {} bytes of weights on rank 0; keys, values and smoothing may take {} bytes, one request takes {} at most{}\n",
                 network.bytes_read(), network.kv_memory_bytes(), most_bytes,
                 most_bytes > network.kv_memory_bytes() ? ": too much, it will be answered with an error" : "");
  text += format("time: about {:.0f} s on these {} ranks, if answers have their full length and take a pass for every four tokens ({:.0f} rows to "
                 "feed, {:.0f} rows per second in a pass just timed; less where they end early), and {:.1f} s of loading\n",
                 survey.rows / rows_per_second, job.comm.num_ranks(), survey.rows, rows_per_second, network.load_seconds());
  return text;
}

}  // namespace

ExitCode run_dry(const Job& job) {
  Network network(job, {.precision = precision_of(job.options())});
  Survey survey;
  agreed(job.comm, [&] {
    if (job.comm.is_root()) {
      survey = survey_input(job, network);
    }
  });
  network.load();
  count_too_large(survey, network.kv_memory_bytes());
  const std::int64_t rows = std::min({std::int64_t{512}, network.config().max_positions, job.options().integer("max-rows")});
  const double rows_per_second = static_cast<double>(rows * job.comm.num_ranks()) / time_a_pass(job, network, rows);
  return share_code(job, [&] {
    job.output.write(report(job, network, survey, rows_per_second));
    return survey.errors.empty() ? ExitCode::kDone : ExitCode::kSomeFailed;
  });
}

}  // namespace unmask::launcher
