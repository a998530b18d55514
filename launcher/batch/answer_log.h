// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <string_view>

#include "launcher/batch/files.h"
#include "launcher/batch/recovery.h"

namespace unmask::launcher {

/// The answers of a job and the journal beside them, both only ever appended to. Whatever happens to the process or, as far
/// as fsync() promises, to the machine: the next AnswerLog on the same files finds a beginning of whole answers, each with its
/// record, and goes on from there.
///
///   append() -> pending -> write_out() -> output, then journal -> sync() -> output on disk, then "synced" in the journal
///
/// A disk may take its time. Meanwhile nothing else is written, as all before a "synced" must be on disk: with kBeside that is
/// a thread of its own, and answers gather in memory; the ranks' steps go on.
class AnswerLog {
 public:
  enum class Start { kResume, kRestart };
  enum class Syncing { kAtOnce, kBeside };
  struct Options {
    JobFacts facts;
    std::string run_json = "{}";  ///< who runs, for the journal
    Start start = Start::kResume;
    std::chrono::milliseconds wait_for_lock{0};
    std::int64_t sync_answers = 1000;      ///< as many at most are not on disk
    std::chrono::milliseconds sync_time{5000};  ///< for as long at most
    Syncing syncing = Syncing::kAtOnce;
  };
  /// Locks both files, recovers, compares the facts, cuts off what a crash left. Throws Error(kIo), Error(kBadInput).
  AnswerLog(Files& files, const std::filesystem::path& output, Options options);

  /// Of earlier runs; for whoever reads the input again.
  AnsweredSet take_answered() { return std::move(answered_); }
  /// Of this run and earlier ones.
  const Tally& tally() const { return tally_; }

  /// The next answer of the output, with its line feed; what the answer's record says of its bytes is filled in here.
  void append(AnsweredLine what, std::string_view line);
  /// To the operating system: from here on a killed process loses nothing. Also syncs where that is due; what comes while the
  /// disk is busy is written by a later call.
  void write_out();
  /// To the disk.
  void sync();
  /// The last call: all is on disk, and the journal says why the run ended.
  void end(const std::string& why);

 private:
  void write_pending();
  void start_sync();
  void finish_sync();
  void sync_files(const std::string& mark);
  void sync_or_cut(AppendFile& file);
  void cut_to_synced() noexcept;

  std::string name_;
  Options options_;
  std::unique_ptr<AppendFile> journal_;
  std::unique_ptr<AppendFile> output_;
  AnsweredSet answered_;
  Tally tally_;
  std::string pending_output_, pending_journal_;
  std::int64_t unsynced_answers_ = 0;
  std::chrono::steady_clock::time_point last_sync_ = std::chrono::steady_clock::now();
  std::uint64_t synced_output_bytes_ = 0, synced_journal_bytes_ = 0;
  std::future<void> syncing_;  ///< while it is valid the files are its own
};

/// Where the journal of these answers is.
std::filesystem::path journal_of(const std::filesystem::path& output);

}  // namespace unmask::launcher
