// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/types.h"

namespace unmask::runtime {

/// What one rank feeds to one pass: a flat list of rows, sequence after sequence, never padded.
///
///   rows   | sequence 0 ........ | sequence 1 .. | sequence 2 ..... |
///   wanted        ^ ^    ^ ^            ^  ^          ^                rows whose logits somebody asks for
struct StepBatch {
  struct Sequence {
    std::int64_t row_begin = 0;
    std::int64_t num_rows = 0;  ///< its row i stands at position i
  };
  std::vector<TokenId> tokens;      ///< [rows]
  std::vector<Sequence> sequences;  ///< ascending, covering all rows
  std::vector<TokenRow> wanted;     ///< ascending

  std::int64_t num_rows() const { return static_cast<std::int64_t>(tokens.size()); }

  /// Appends a sequence; returns its first row.
  std::int64_t add(const std::vector<TokenId>& sequence_tokens) {
    const std::int64_t begin = num_rows();
    sequences.push_back({begin, static_cast<std::int64_t>(sequence_tokens.size())});
    tokens.insert(tokens.end(), sequence_tokens.begin(), sequence_tokens.end());
    return begin;
  }
};

}  // namespace unmask::runtime
