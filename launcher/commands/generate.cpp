// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>

#include "base/byte_stream.h"
#include "base/clock.h"
#include "cluster/memory.h"
#include "launcher/commands/commands.h"
#include "launcher/generate/plan.h"
#include "launcher/generate/receiver.h"
#include "launcher/run/network.h"
#include "runtime/engine.h"

namespace unmask::launcher {
namespace {

runtime::EngineOptions engine_options(const Job& job, const Network& network, const Plan& plan) {
  runtime::EngineOptions options{.max_rows = job.options().integer("max-rows"),
                                 .kv_memory_bytes = network.kv_memory_bytes(),
                                 .eos_tokens = plan.special.ends,
                                 .mask_token = plan.special.mask,
                                 .keep_trace = job.options().is_on("show-steps"),
                                 .stops_at_text = {}};
  if (plan.text.tokenizer) {
    options.stops_at_text = [&tokenizer = *plan.text.tokenizer](const runtime::Request& request, std::span<const TokenId> tokens) {
      return holds_stop(tokens, request.options.stop, tokenizer);
    };
  }
  return options;
}

/// All steps of all requests. `receiver` is null but on rank 0.
void decode(const Job& job, Network& network, const Plan& plan, Receiver* receiver) {
  comm::Communicator& comm = job.comm;
  runtime::EngineEvents events;
  events.on_answer = [&](const runtime::Request&, runtime::Answer answer) { comm.post_to_root(pack(answer)); };
  if (plan.draws) {
    events.on_draft = [&](const runtime::Request& request, const runtime::TraceStep& step, std::int64_t passes) {
      comm.post_to_root(pack(Draft{.number = request.number, .passes = passes, .unmasked = step.unmasked}));
    };
  }
  runtime::Engine engine(network.transformer(), engine_options(job, network, plan), std::move(events));
  std::vector<runtime::Request> requests;
  std::ranges::transform(plan.requests, std::back_inserter(requests), &TokenRequest::to_request);
  const std::vector<Rank> ranks = runtime::spread_over_ranks(requests, comm.num_ranks());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (ranks[i] == comm.rank()) {
      engine.submit(std::move(requests[i]));
    }
  }
  bool works = true;
  while (works) {
    works = engine.run_step();
    if (receiver != nullptr) {
      receiver->drain();
    }
  }
  if (receiver != nullptr) {
    receiver->drain_to_the_end();
  }
}

/// Collective.
RunReport gather_report(const Job& job, Network& network) {
  RunReport report;
  report.num_threads = network.num_threads();
  report.dtype = network.dtype();
  report.device = network.device();
  report.kernel = network.kernels().name;
  ByteWriter mine;
  mine.put(network.load_seconds()).put(network.bytes_read()).put(cluster::peak_memory_bytes());
  for (const auto& bytes : job.comm.all_gather(mine.take())) {
    ByteReader reader(bytes);
    report.load_seconds = std::max(report.load_seconds, reader.get<double>());
    report.bytes_read.push_back(reader.get<std::uint64_t>());
    report.peak_memory_bytes.push_back(reader.get<std::uint64_t>());
  }
  report.exchange = report_exchange(job, network);
  return report;
}

/// Prints what is left, and says how the run ended. On rank 0.
ExitCode finish(const Job& job, AnswerSink& sink, RunReport report) {
  report.text_tokens = sink.text_tokens();
  report.passes = sink.passes();
  sink.finish(report);
  job.log.info("{} tokens in {} passes and {:.2f} s: {:.1f} tokens per second on {} ranks with {} threads each, {}, kernels {}",
               report.text_tokens, report.passes, report.decode_seconds,
               static_cast<double>(report.text_tokens) / std::max(report.decode_seconds, 1e-9), report.bytes_read.size(),
               report.num_threads, report.dtype, report.kernel);
  if (const std::string line = describe(report.exchange); !line.empty()) {
    job.log.info("{}", line);
  }
  for (const Error& error : sink.errors()) {
    tell(error.what());
  }
  if (sink.num_failed() == 0) {
    return ExitCode::kDone;
  }
  return job.options().given("requests") ? ExitCode::kSomeFailed : ExitCode::kBadInput;
}

}  // namespace

ExitCode run_generate(const Job& job) {
  Network network(job, {.precision = precision_of(job.options())});
  Plan plan = make_plan(job, network);
  network.load();
  std::optional<Receiver> receiver;
  if (job.comm.is_root()) {
    receiver.emplace(job, plan);
  }
  const Stopwatch clock;
  decode(job, network, plan, receiver ? &*receiver : nullptr);
  const double decode_seconds = clock.seconds();
  RunReport report = gather_report(job, network);
  report.decode_seconds = decode_seconds;
  network.write_recordings();
  return share_code(job, [&] { return finish(job, receiver->sink(), std::move(report)); });
}

}  // namespace unmask::launcher
