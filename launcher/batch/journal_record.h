// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace unmask::launcher {

// The journal beside a file of answers: text, one record a line, each line with a checksum of its own.
//
//   unmask-batch-journal 1 {"model": ..., ...} ~5f0c2a71     what the answers hang on, once
//   r {"host": ..., "ranks": 3, ...} ~...                    a run began
//   a 16 17 9f... 412 3c... - 38 5 ~...                      an answer was written
//   s 17 ~...                                                all answers so far are on disk
//   e stopped ~...                                           the run ended by itself

/// What the answers of a job hang on, as texts by name: they may not change when it is resumed.
struct JobFacts {
  std::vector<std::pair<std::string, std::string>> facts;
};

/// An answer that stands in the output.
struct AnsweredLine {
  std::int64_t index = 0;         ///< of the request: lines that are not blank, from 0
  std::int64_t number = 0;        ///< of its line, from 1
  std::uint64_t input_hash = 0;   ///< of its line and number
  std::uint64_t output_bytes = 0; ///< of the answer, its line feed included
  std::uint64_t output_hash = 0;
  std::string error_kind;         ///< empty: answered
  std::int64_t text_tokens = 0;
  std::int64_t passes = 0;
};

struct RunBegan {
  std::string json;
};
struct Synced {
  std::int64_t num_answers = 0;
  std::int64_t unix_seconds = 0;
};
struct RunEnded {
  std::string why;  ///< done, stopped
};
using JournalRecord = std::variant<JobFacts, RunBegan, AnsweredLine, Synced, RunEnded>;

/// With its line feed.
std::string encode(const JournalRecord& record);
/// Without it; nothing where the line is not whole.
std::optional<JournalRecord> decode_record(std::string_view line);
/// Whether this may be what a crash left of the first record: a beginning of it, or zeros.
bool may_be_torn_facts(std::string_view text);

}  // namespace unmask::launcher
