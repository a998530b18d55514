// SPDX-License-Identifier: Apache-2.0
#include "cluster/rank_record.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <system_error>

#include "base/format.h"

namespace unmask::cluster {
namespace {

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <std::size_t N>
void copy(std::string_view from, std::array<char, N>& to) {
  const auto end = std::copy_n(from.begin(), std::min(from.size(), N - 1), to.begin());
  *end = '\0';
}

std::string line(const OperationNote& note, std::int64_t now) {
  const bool done = note.end_ns != 0;
  return format("{:.6f} s ago: {} {} rank {}, lane {}, {} bytes, {} {:.6f} s\n", static_cast<double>(now - note.begin_ns) / 1e9,
                note.sends ? "send" : "receive", note.sends ? "to" : "from", note.peer, note.lane.data(), note.bytes,
                done ? "done after" : "open for", static_cast<double>((done ? note.end_ns : now) - note.begin_ns) / 1e9);
}

}  // namespace

void RankRecord::introduce(std::int32_t my_rank, std::string_view my_host) {
  rank = my_rank;
  copy(my_host, host);
}

void RankRecord::wait_for(std::string_view what) { copy(what, waits); }

std::uint64_t RankRecord::begin(bool sends, std::string_view lane, std::int32_t peer, std::int64_t bytes) {
  OperationNote& note = notes[num_notes % kNotes];
  note = {.begin_ns = now_ns(), .end_ns = 0, .bytes = bytes, .peer = peer, .lane = {}, .sends = sends};
  copy(lane, note.lane);
  return num_notes++;
}

void RankRecord::end(std::uint64_t number) {
  if (num_notes - number <= kNotes) {  // else a newer one has its place
    notes[number % kNotes].end_ns = now_ns();
  }
}

std::string who(const RankRecord& record) {
  return record.host[0] == '\0' ? "rank ?" : format("rank {} host {}", record.rank, record.host.data());
}

std::string last_operations(const RankRecord& record, std::uint64_t count) {
  const auto now = now_ns();
  std::string text;
  for (std::uint64_t left = std::min({count, record.num_notes, RankRecord::kNotes}); left > 0; --left) {
    text += line(record.notes[(record.num_notes - left) % RankRecord::kNotes], now);
  }
  return text;
}

std::string write_log(const RankRecord& record) {
  const std::string text = format("{}\n{} operations, the last {} of them:\n{}{}", who(record), record.num_notes,
                                  std::min(record.num_notes, RankRecord::kNotes), last_operations(record, RankRecord::kNotes),
                                  record.waits[0] == '\0' ? "" : format("waits {}\n", record.waits.data()));
  std::error_code error;
  for (const auto& folder : {std::filesystem::current_path(error), std::filesystem::temp_directory_path(error)}) {
    const auto file = folder / format("unmask-rank-{}.log", record.rank);
    std::ofstream out(file, std::ios::trunc);
    if (out << text << std::flush) {
      return format("; its last operations are in {}", file.string());
    }
  }
  return "; its last operations could not be written";
}

}  // namespace unmask::cluster
