// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/batch_report.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/byte_stream.h"
#include "cluster/memory.h"

namespace unmask::launcher {
namespace {

constexpr double kProgressSeconds = 5;

double ratio(double count, double per) { return per > 0 ? count / per : 0; }
double ratio(std::int64_t count, double per) { return ratio(static_cast<double>(count), per); }

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds);
  return format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

/// The busiest rank's rows over the mean of all: 1 is even.
double imbalance(const std::vector<RankReport>& ranks) {
  std::int64_t sum = 0, most = 0;
  for (const RankReport& rank : ranks) {
    sum += rank.rows;
    most = std::max(most, rank.rows);
  }
  return ratio(most * static_cast<std::int64_t>(ranks.size()), static_cast<double>(sum));
}

/// The share of the network's time in which ranks did nothing but wait for bytes.
double exposed(const std::vector<RankReport>& ranks) {
  double waited = 0, network = 0;
  for (const RankReport& rank : ranks) {
    waited += rank.wait_seconds;
    network += rank.network_seconds;
  }
  return ratio(waited, network);
}

nlohmann::ordered_json rank_json(const RankReport& rank) {
  auto out = nlohmann::ordered_json::object();
  out["host"] = rank.host;
  out["answers"] = rank.answered;
  out["steps"] = rank.steps;
  out["passes"] = rank.passes;
  out["rows"] = rank.rows;
  out["load_seconds"] = rank.load_seconds;
  out["network_seconds"] = rank.network_seconds;
  out["exposed_communication_seconds"] = rank.wait_seconds;
  out["wire_bytes"] = rank.wire_bytes;
  out["kv_peak_bytes"] = rank.kv_peak_bytes;
  out["peak_memory_bytes"] = rank.peak_memory_bytes;
  return out;
}

}  // namespace

std::string BatchProgress::remaining() const {
  const auto progress = pump_.progress();
  const double read = static_cast<double>(progress.requests);
  const double total = progress.at_end ? read : ratio(read, progress.share);
  const double done = static_cast<double>(answers_.tally().answers);
  const double new_ones = done - static_cast<double>(before_.answers);
  return total <= 0 || new_ones <= 0 ? "unknown" : clock_text((total - done) / new_ones * clock_.seconds());
}

void BatchProgress::show_if_due() {
  const double now = clock_.seconds();
  if (now - last_ < kProgressSeconds) {
    return;
  }
  last_ = now;
  const Tally& tally = answers_.tally();
  log_.info("{} done, {} failed, {:.0f} tokens/s, {:.2f} tokens per pass, {} to go", tally.answers, tally.failed,
            ratio(tally.text_tokens - before_.text_tokens, now),
            ratio(tally.text_tokens - before_.text_tokens, static_cast<double>(tally.passes - before_.passes)), remaining());
}

std::vector<RankReport> gather_rank_reports(const Job& job, Network& network, const runtime::Engine::Statistics& statistics) {
  ByteWriter mine;
  mine.put(job.comm.host()).put(network.load_seconds()).put(statistics.network.count()).put(statistics.steps).put(statistics.rows);
  const comm::ExchangeStatistics exchange = network.transformer().exchange_statistics();
  mine.put(statistics.passes).put(statistics.answered).put(exchange.wire_bytes).put(exchange.wait_seconds);
  mine.put(statistics.kv_peak_bytes).put(cluster::peak_memory_bytes());
  std::vector<RankReport> out;
  for (const auto& bytes : job.comm.all_gather(mine.take())) {
    ByteReader reader(bytes);
    RankReport& rank = out.emplace_back();
    rank.host = reader.get_text();
    rank.load_seconds = reader.get<double>();
    rank.network_seconds = reader.get<double>();
    rank.steps = reader.get<std::int64_t>();
    rank.rows = reader.get<std::int64_t>();
    rank.passes = reader.get<std::int64_t>();
    rank.answered = reader.get<std::int64_t>();
    rank.wire_bytes = reader.get<std::uint64_t>();
    rank.wait_seconds = reader.get<double>();
    rank.kv_peak_bytes = reader.get<std::uint64_t>();
    rank.peak_memory_bytes = reader.get<std::uint64_t>();
  }
  return out;
}

std::string summary_json(const BatchReport& report) {
  const std::int64_t tokens = report.now.text_tokens - report.before.text_tokens;
  auto out = nlohmann::ordered_json::object();
  out["ended"] = report.ended;
  out["answers"] = report.now.answers;
  out["failed"] = report.now.failed;
  out["errors"] = nlohmann::ordered_json::object();
  for (const auto& [kind, count] : report.now.errors) {
    out["errors"][kind] = count;
  }
  out["text_tokens"] = report.now.text_tokens;
  out["passes"] = report.now.passes;
  auto& run = out["this_run"] = nlohmann::ordered_json::object();
  run["answers"] = report.now.answers - report.before.answers;
  run["text_tokens"] = tokens;
  run["seconds"] = report.seconds;
  run["tokens_per_second"] = ratio(tokens, report.seconds);
  run["tokens_per_pass"] = ratio(tokens, static_cast<double>(report.now.passes - report.before.passes));
  run["dtype"] = report.dtype;
  run["device"] = report.device;
  run["kernel"] = report.kernel;
  run["threads"] = report.threads;
  run["imbalance"] = imbalance(report.ranks);
  run["exposed_communication"] = exposed(report.ranks);
  run["ranks"] = nlohmann::ordered_json::array();
  for (const RankReport& rank : report.ranks) {
    run["ranks"].push_back(rank_json(rank));
  }
  return out.dump(2, ' ', true, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string summary_line(const BatchReport& report) {
  const std::int64_t tokens = report.now.text_tokens - report.before.text_tokens;
  std::string errors;
  for (const auto& [kind, count] : report.now.errors) {
    errors += format("{}{} {}", errors.empty() ? " (" : ", ", count, kind);
  }
  const std::string whole = format("{}: {} answers, {} of them failed{}{}", report.ended, report.now.answers, report.now.failed, errors,
                                   errors.empty() ? "" : ")");
  if (report.ranks.empty()) {
    return whole + "; nothing was left for this run";
  }
  return format("{}; this run: {} answers, {} tokens in {:.2f} s, {:.1f} tokens per second, {:.2f} tokens "
                "per pass, {} ranks with {} threads each, busiest rank {:.2f} of the mean, {:.0f} % of the time waiting for other ranks",
                whole, report.now.answers - report.before.answers, tokens, report.seconds, ratio(tokens, report.seconds),
                ratio(tokens, static_cast<double>(report.now.passes - report.before.passes)), report.ranks.size(), report.threads,
                imbalance(report.ranks), 100 * exposed(report.ranks));
}

}  // namespace unmask::launcher
