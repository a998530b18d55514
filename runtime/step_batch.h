// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/types.h"

namespace unmask::runtime {

class KvStore;

/// What one rank feeds to one pass: a flat list of rows, window after window of its sequences, never padded.
///
///   rows   | sequence 0 ........ | sequence 1 .. | sequence 2 ..... |
///   wanted        ^ ^    ^ ^            ^  ^          ^                rows whose logits somebody asks for
struct StepBatch {
  struct Sequence {
    std::int64_t row_begin = 0;
    std::int64_t num_rows = 0;
    std::int64_t first_position = 0;  ///< row row_begin + i stands at position first_position + i
    KvStore* store = nullptr;         ///< keys and values of all positions, which the rows renew; null: the rows are all there is

    std::int64_t row_end() const { return row_begin + num_rows; }
    std::int64_t position(std::int64_t row) const { return first_position + row - row_begin; }
  };
  std::vector<TokenId> tokens;      ///< [rows]
  std::vector<Sequence> sequences;  ///< ascending, covering all rows
  std::vector<TokenRow> wanted;     ///< ascending

  std::int64_t num_rows() const { return static_cast<std::int64_t>(tokens.size()); }

  /// Appends a whole sequence; returns its first row.
  std::int64_t add(const std::vector<TokenId>& sequence_tokens) { return add(sequence_tokens, 0, nullptr); }

  /// Appends the window of a sequence that begins at `first_position`; returns its first row.
  std::int64_t add(std::span<const TokenId> window, std::int64_t first_position, KvStore* store) {
    const std::int64_t begin = num_rows();
    sequences.push_back({begin, static_cast<std::int64_t>(window.size()), first_position, store});
    tokens.insert(tokens.end(), window.begin(), window.end());
    return begin;
  }
};

}  // namespace unmask::runtime
