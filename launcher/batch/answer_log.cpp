// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/answer_log.h"

#include <system_error>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "cluster/pinning.h"
#include "launcher/batch/signals_blocked.h"

namespace unmask::launcher {
namespace {

constexpr std::size_t kPendingBytes = std::size_t{1} << 20;   ///< then they go to the operating system
constexpr std::size_t kMostPending = std::size_t{16} << 20;  ///< then the disk is waited for

void lock_within(AppendFile& file, const std::string& name, std::chrono::milliseconds patience) {
  const Stopwatch waited;
  while (!file.try_lock()) {
    require(waited.elapsed() < patience, ExitCode::kIo,
            "{} is in use by another run, or by a process of a killed one that still lives: wait for its end, or end it (waited {:.1f} s, "
            "see --wait-lock)",
            name, waited.seconds());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

std::int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::filesystem::path journal_of(const std::filesystem::path& output) { return output.string() + ".journal"; }

AnswerLog::AnswerLog(Files& files, const std::filesystem::path& output, Options options)
    : name_(output.string()), options_(std::move(options)) {
  journal_ = files.open(journal_of(output));
  lock_within(*journal_, journal_of(output).string(), options_.wait_for_lock);
  output_ = files.open(output);
  lock_within(*output_, name_, options_.wait_for_lock);
  if (options_.start == Start::kRestart) {
    output_->truncate(0);
    output_->sync();
    journal_->truncate(0);
    journal_->sync();
  }
  Recovered found = recover(*journal_, *output_, name_);
  if (found.facts) {
    require_same_job(*found.facts, options_.facts);
  }
  if (journal_->num_bytes() != found.journal_bytes) {
    journal_->truncate(found.journal_bytes);
  }
  if (output_->num_bytes() != found.output_bytes) {
    output_->truncate(found.output_bytes);
  }
  if (!found.facts) {
    journal_->append(encode(options_.facts));
    journal_->sync();  // before any record: a journal without its beginning is nobody's
  }
  journal_->append(encode(RunBegan{options_.run_json}));
  answered_ = std::move(found.answered);
  tally_ = std::move(found.tally);
  synced_output_bytes_ = found.synced_output_bytes;
  synced_journal_bytes_ = found.synced_journal_bytes;
  start_sync();
  finish_sync();
}

void AnswerLog::append(AnsweredLine what, std::string_view line) {
  what.output_bytes = line.size();
  what.output_hash = output_hash(line);
  pending_output_ += line;
  pending_journal_ += encode(what);
  tally_.add(what);
  ++unsynced_answers_;
  if (pending_output_.size() >= kPendingBytes) {
    write_out();
  }
}

void AnswerLog::write_out() {
  const bool disk_is_busy = syncing_.valid() && syncing_.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
  if (disk_is_busy && pending_output_.size() < kMostPending) {
    return;
  }
  finish_sync();
  write_pending();
  if (unsynced_answers_ >= options_.sync_answers ||
      (unsynced_answers_ > 0 && std::chrono::steady_clock::now() - last_sync_ >= options_.sync_time)) {
    start_sync();
  }
}

void AnswerLog::write_pending() {
  if (!pending_journal_.empty()) {
    output_->append(pending_output_);
    pending_output_.clear();
    journal_->append(pending_journal_);
    pending_journal_.clear();
  }
}

void AnswerLog::sync() {
  finish_sync();
  write_pending();
  if (unsynced_answers_ > 0) {
    start_sync();
    finish_sync();
  }
}

/// Of all answers appended so far, which are written.
void AnswerLog::start_sync() {
  const std::string mark = encode(Synced{.num_answers = tally_.answers, .unix_seconds = unix_now()});
  unsynced_answers_ = 0;
  last_sync_ = std::chrono::steady_clock::now();
  if (options_.syncing == Syncing::kAtOnce) {
    sync_files(mark);
    return;
  }
  const SignalsBlocked blocked;
  try {
    syncing_ = std::async(std::launch::async, [this, mark] {
      cluster::leave_pins();
      sync_files(mark);
    });
  } catch (const std::system_error&) {
    sync_files(mark);  // no thread is to be had
  }
}

void AnswerLog::finish_sync() {
  if (syncing_.valid()) {
    syncing_.get();
  }
}

void AnswerLog::sync_files(const std::string& mark) {
  sync_or_cut(*output_);
  journal_->append(mark);
  sync_or_cut(*journal_);
  synced_output_bytes_ = output_->num_bytes();
  synced_journal_bytes_ = journal_->num_bytes();
}

void AnswerLog::sync_or_cut(AppendFile& file) {
  try {
    file.sync();
  } catch (const Error&) {
    cut_to_synced();
    throw;
  }
}

/// After a failed fsync the kernel may show bytes that it could not write and will not try again: the next run must not take
/// them for answers. Better to compute some again.
void AnswerLog::cut_to_synced() noexcept {
  try {
    if (synced_journal_bytes_ > 0) {
      journal_->truncate(synced_journal_bytes_);
      output_->truncate(synced_output_bytes_);
    }
  } catch (const Error&) {
    // The disk fails altogether; who runs the job is told of the first error.
  }
}

void AnswerLog::end(const std::string& why) {
  sync();
  journal_->append(encode(RunEnded{why}));
  journal_->sync();
}

}  // namespace unmask::launcher
