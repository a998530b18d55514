// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "launcher/batch/batch_desk.h"
#include "launcher/run/network.h"
#include "runtime/engine.h"

namespace unmask::launcher {

/// The plain progress line of rank 0, at most every five seconds.
class BatchProgress {
 public:
  BatchProgress(const Logger& log, const AnswerLog& answers, const RequestPump& pump)
      : log_(log), answers_(answers), pump_(pump), before_(answers.tally()) {}
  void show_if_due();

 private:
  std::string remaining() const;

  const Logger& log_;
  const AnswerLog& answers_;
  const RequestPump& pump_;
  Tally before_;  ///< of earlier runs
  Stopwatch clock_;
  double last_ = 0;
};

/// A rank's share of a run.
struct RankReport {
  std::string host;
  double load_seconds = 0;
  double network_seconds = 0;
  double wait_seconds = 0;      ///< of those, with nothing to do but wait for other ranks
  std::int64_t steps = 0;
  std::int64_t rows = 0;
  std::int64_t passes = 0;
  std::int64_t answered = 0;
  std::uint64_t wire_bytes = 0;
  std::uint64_t kv_peak_bytes = 0;
  std::uint64_t peak_memory_bytes = 0;
};

/// Collective. Of all ranks, on rank 0 and elsewhere.
std::vector<RankReport> gather_rank_reports(const Job& job, Network& network, const runtime::Engine::Statistics& statistics);

/// A whole run, on rank 0.
struct BatchReport {
  std::string ended;  ///< "done", "stopped"
  Tally before;       ///< of earlier runs
  Tally now;          ///< of all runs
  double seconds = 0; ///< of the steps
  std::string dtype;
  std::string device;
  std::string kernel;
  std::int64_t threads = 0;
  std::vector<RankReport> ranks;
};

/// For --summary.
std::string summary_json(const BatchReport& report);
/// For the log.
std::string summary_line(const BatchReport& report);

}  // namespace unmask::launcher
