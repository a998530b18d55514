// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace unmask::cluster {

/// One message of a rank's, as it is remembered for the case that the job fails.
struct OperationNote {
  std::int64_t begin_ns;  ///< steady clock
  std::int64_t end_ns;    ///< 0: not done
  std::int64_t bytes;
  std::int32_t peer;
  std::array<char, 10> lane;
  bool sends;
};

/// What a rank is at: its last operations, what it waits for, and a pulse that shows that it goes on. All zero at first, and
/// trivial, so that it can lie in memory that a rank shares with its guard, which reads it when the rank is stopped or dead.
/// Written by the rank's own thread alone.
struct RankRecord {
  static constexpr std::uint64_t kNotes = 256;

  std::atomic<std::uint64_t> pulse;  ///< steps forward, whatever they were; also looks around while it waits
  std::int32_t rank;
  std::array<char, 64> host;
  std::array<char, 160> waits;  ///< "for rank 3 (host b): dispatch, rows out"; empty while it works
  std::uint64_t num_notes;      ///< ever begun
  std::array<OperationNote, kNotes> notes;

  void introduce(std::int32_t my_rank, std::string_view my_host);
  void beat() { pulse.store(pulse.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  void wait_for(std::string_view what);

  /// The number of a new note.
  std::uint64_t begin(bool sends, std::string_view lane, std::int32_t peer, std::int64_t bytes);
  void end(std::uint64_t number);
};

/// "rank 3 host b", or "?" for what is not known yet.
std::string who(const RankRecord& record);

/// The last `count` operations, the newest last, one per line.
std::string last_operations(const RankRecord& record, std::uint64_t count);

/// Writes all that is remembered to unmask-rank-R.log, in the working folder or, where that cannot be written, the one for
/// temporary files. Returns ": its last 256 operations are in FILE", or what was wrong.
std::string write_log(const RankRecord& record);

}  // namespace unmask::cluster
