// SPDX-License-Identifier: Apache-2.0
#include "base/byte_stream.h"
#include "launcher/batch/batch_report.h"
#include "launcher/batch/batch_status.h"
#include "launcher/batch/dry_run.h"
#include "launcher/batch/job_facts.h"
#include "launcher/batch/job_paths.h"
#include "launcher/batch/lockstep.h"
#include "launcher/batch/stop_signals.h"
#include "launcher/commands/commands.h"
#include "launcher/generate/plan.h"
#include "launcher/io/beside.h"
#include "runtime/output_file.h"
#include "runtime/sequence.h"

namespace unmask::launcher {
namespace {

std::chrono::milliseconds milliseconds_of(const OptionValues& options, const char* name) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(options.real(name) * 1000));
}

/// What rank 0 alone has. Members are in the order in which they need each other.
struct RootSide {
  SystemFiles files;
  ModelText text;
  std::optional<AnswerLog> log;
  Tally before;
  std::int64_t first_index = 0;
  std::optional<RequestPump> pump;
  std::optional<BatchDesk> desk;
  std::optional<BatchProgress> progress;
};

/// Opens the files and begins to read, before the weights are loaded: what is wrong with them is told at once.
void open_files(const Job& job, const Network& network, RootSide& root) {
  const OptionValues& options = job.options();
  require_good_paths({.input = options.text("input"),
                      .output = options.text("output"),
                      .summary = options.given("summary") ? std::optional<std::filesystem::path>(options.text("summary")) : std::nullopt});
  root.log.emplace(root.files, options.text("output"),
                   AnswerLog::Options{.facts = job_facts(job, network),
                                      .run_json = run_json(job, network),
                                      .start = options.is_on("restart") ? AnswerLog::Start::kRestart : AnswerLog::Start::kResume,
                                      .wait_for_lock = milliseconds_of(options, "wait-lock"),
                                      .sync_answers = options.integer("sync-every"),
                                      .sync_time = milliseconds_of(options, "sync-seconds"),
                                      .syncing = AnswerLog::Syncing::kBeside});
  root.before = root.log->tally();
  AnsweredSet answered = root.log->take_answered();
  root.first_index = answered.first_missing();
  if (root.before.answers > 0) {
    job.log.info("{} requests are answered already, {} of them failed: going on behind them", root.before.answers, root.before.failed);
  }
  root.pump.emplace(RequestPump::Options{.input = options.text("input"), .model_name = network.files().path().filename().string()},
                    Tokenizing{options, root.text, network.config()}, std::move(answered));
  if (root.pump->is_regular_file()) {
    root.pump->wait_for_first();
    static_cast<void>(root.pump->state());
  }
}

/// Collective. Whether there is anything to answer; the tokens that all ranks need.
bool begin(const Job& job, Network& network, RootSide& root, SpecialTokens& special) {
  bool has_work = false;
  agreed(job.comm, [&] {
    if (job.comm.is_root()) {
      const auto open = [&] {
        root.text.read(network.files());
        special = find_special_tokens(network.files(), network.config(), root.text.tokenizer ? &*root.text.tokenizer : nullptr,
                                      job.options().sampling().mask_token);
        open_files(job, network, root);
        has_work = !root.pump->is_regular_file() || root.pump->state() == RequestPump::State::kMore;
      };
      run_beside(open, [&] { job.comm.works(); });  // another run may hold the files, or the input be a slow pipe
    }
  });
  const auto bytes = job.comm.broadcast(ByteWriter().put(special.mask).put(special.ends).put(std::uint8_t{has_work}).take(), Rank(0));
  ByteReader reader(bytes);
  special.mask = reader.get<TokenId>();
  special.ends = reader.get_list<TokenId>();
  return reader.get<std::uint8_t>() != 0;
}

/// Collective. What each rank can have in hand.
std::vector<RankRoom> gather_rooms(const Job& job, Network& network) {
  constexpr std::uint64_t kPlenty = std::uint64_t{1} << 60;  // and an eighth more can be told
  std::vector<RankRoom> rooms;
  for (const auto& bytes : job.comm.all_gather(ByteWriter().put(std::min(network.kv_memory_bytes(), kPlenty)).take())) {
    rooms.push_back({.rows = job.options().integer("max-rows"), .bytes = ByteReader(bytes).get<std::uint64_t>()});
  }
  return rooms;
}

void open_desk(const Job& job, const Network& network, RootSide& root, std::vector<RankRoom> rooms) {
  const OptionValues& options = job.options();
  const auto bytes_of = [pool = runtime::KvPool(network.config(), precision_of(options), network.kv_memory_bytes())](
                            const runtime::Request& request) { return runtime::memory_of(request, pool).bytes(); };
  root.desk.emplace(*root.log, *root.pump, HandOut(std::move(rooms), bytes_of),
                    BatchDesk::Options{.order = options.is_on("unordered") ? BatchDesk::Order::kAny : BatchDesk::Order::kInput,
                                       .first_index = root.first_index,
                                       .window_requests = options.integer("reorder-window"),
                                       .tokenizer = root.text.tokenizer ? &*root.text.tokenizer : nullptr});
  root.progress.emplace(job.log, *root.log, *root.pump);
}

/// On rank 0: all is on disk before anything else is said.
ExitCode finish(const Job& job, RootSide& root, BatchReport report) {
  const bool complete = report.ended == "done";
  root.log->end(report.ended);
  report.before = root.before;
  report.now = root.log->tally();
  job.log.info("{}", summary_line(report));
  if (job.options().given("summary")) {
    const std::string text = summary_json(report);
    runtime::OutputFile file(job.options().text("summary"));
    file.write(0, std::as_bytes(std::span(text)));
    file.sync();
    file.commit();
  }
  if (!complete) {
    return ExitCode::kStopped;
  }
  return report.now.failed > 0 ? ExitCode::kSomeFailed : ExitCode::kDone;
}

/// Collective. The exit code of rank 0, or its error on all of them.
ExitCode share_end(const Job& job, RootSide& root, BatchReport report) {
  ExitCode code = ExitCode::kDone;
  agreed(job.comm, [&] {
    if (job.comm.is_root()) {
      code = finish(job, root, std::move(report));
    }
  });
  code = share_code(job, [&] { return code; });
  now_ends_with(static_cast<int>(code));
  return code;
}

ExitCode run_job(const Job& job) {
  const Stopwatch since_start;
  Network network(job, {.precision = precision_of(job.options())});
  RootSide root;
  SpecialTokens special;
  log_rank_map(job, network);
  BatchReport report;
  report.ended = "done";
  report.dtype = job.options().text("dtype");
  report.device = network.device();
  report.kernel = network.kernels().name;
  report.threads = network.num_threads();
  if (!begin(job, network, root, special)) {
    return share_end(job, root, std::move(report));
  }
  network.load();
  auto rooms = gather_rooms(job, network);
  if (job.comm.is_root()) {
    open_desk(job, network, root, std::move(rooms));
  }
  const double max_time = job.comm.is_root() ? job.options().real("max-time") : 0;
  now_requests_run();
  const Stopwatch clock;
  const BatchRank rank{.job = job,
                       .network = network,
                       .special = special,
                       .tokenizer = root.text.tokenizer ? &*root.text.tokenizer : nullptr,
                       .desk = root.desk ? &*root.desk : nullptr,
                       .after_step = [&] { root.progress->show_if_due(); },
                       .wants_stop = [&] { return stop_was_asked() || (max_time > 0 && since_start.seconds() >= max_time); }};
  const LockstepResult result = run_in_lockstep(rank);
  report.seconds = clock.seconds();
  agreed(job.comm, [&] {
    if (result.failure) {
      throw *result.failure;
    }
  });
  report.ranks = gather_rank_reports(job, network, result.statistics);
  report.ended = job.comm.is_root() && !root.desk->done() ? "stopped" : "done";
  return share_end(job, root, std::move(report));
}

}  // namespace

ExitCode run_batch(const Job& job) {
  if (job.options().given("status")) {
    return share_code(job, [&] { return print_batch_status(job); });
  }
  if (job.options().is_on("dry-run")) {
    return run_dry(job);
  }
  try {
    return run_job(job);
  } catch (const AgreedError& error) {
    now_ends_with(static_cast<int>(error.code()));
    throw;
  }
}

}  // namespace unmask::launcher
