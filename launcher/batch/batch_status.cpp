// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/batch_status.h"

#include <algorithm>
#include <chrono>

#include "launcher/batch/answer_log.h"

namespace unmask::launcher {
namespace {

std::string synced_text(const Recovered& found) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto ago = std::chrono::duration_cast<std::chrono::seconds>(now).count() - found.last_sync_unix_seconds;
  return found.last_sync_unix_seconds == 0 ? "never" : format("{} s ago", std::max<std::int64_t>(ago, 0));
}

/// The lock tells whether somebody has the answers open; it is taken for a moment only.
const char* state_of(const Recovered& found, AppendFile& journal) {
  if (!journal.try_lock()) {
    return "running";
  }
  return found.last_end == "done" ? "done" : found.last_end == "stopped" ? "stopped: run it again to go on" : "killed: run it again to go on";
}

}  // namespace

ExitCode print_batch_status(const Job& job) {
  const std::string name = job.options().text("status");
  const auto journal = SystemFiles::open_for_reading(journal_of(name));
  const auto output = SystemFiles::open_for_reading(name);  // later: it holds at least what the journal says
  const Recovered found = recover(*journal, *output, name);
  require(found.facts.has_value(), ExitCode::kBadInput, "{}: the job has not begun", name);
  std::string text = format("{}: {}\n", name, state_of(found, *journal));
  text += format("answers: {}, {} of them failed\n", found.tally.answers, found.tally.failed);
  for (const auto& [kind, count] : found.tally.errors) {
    text += format("  {}: {}\n", kind, count);
  }
  text += format("tokens: {} in {} passes\noutput: {} bytes, {} of them on disk for certain (forced there {})\nlast run: {}\n",
                 found.tally.text_tokens, found.tally.passes, found.output_bytes, found.synced_output_bytes, synced_text(found), found.last_run);
  job.output.write(text);
  return ExitCode::kDone;
}

}  // namespace unmask::launcher
