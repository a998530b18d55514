// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>

#include "launcher/batch/answered_set.h"
#include "launcher/batch/files.h"
#include "launcher/batch/journal_record.h"

namespace unmask::launcher {

/// What was answered, in numbers.
struct Tally {
  std::int64_t answers = 0;  ///< failed ones among them
  std::int64_t failed = 0;
  std::int64_t text_tokens = 0;
  std::int64_t passes = 0;
  std::map<std::string, std::int64_t> errors;  ///< by kind

  void add(const AnsweredLine& line);
};

/// What a job's two files hold: the longest beginning that both agree on.
struct Recovered {
  std::optional<JobFacts> facts;  ///< nothing: the job never began
  AnsweredSet answered;
  Tally tally;
  std::uint64_t journal_bytes = 0;  ///< of that beginning
  std::uint64_t output_bytes = 0;
  std::uint64_t synced_journal_bytes = 0, synced_output_bytes = 0;  ///< of that, what was known to be on disk
  std::string last_run;             ///< JSON of the last RunBegan
  std::string last_end;             ///< of the last run: "done", "stopped"; empty: it runs, or was killed
  std::int64_t last_sync_unix_seconds = 0;
};

/// Reads both files and changes nothing. What a crash can leave behind that beginning is left out: a record cut short, records
/// without their answer, an answer without its record. Throws Error(kBadInput) for what no crash does: a journal damaged before
/// its end, answers changed after they were on disk, answers without a journal.
Recovered recover(const AppendFile& journal, const AppendFile& output, const std::string& output_name);

/// Throws Error(kBadInput) that says which facts differ.
void require_same_job(const JobFacts& then, const JobFacts& now);

/// The check value of an answer in the output.
std::uint64_t output_hash(std::string_view line);

}  // namespace unmask::launcher
