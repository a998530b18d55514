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
///
/// A guided sequence is there twice, with its prompt and without it, one behind the other.
struct StepBatch {
  struct Sequence {
    std::int64_t row_begin = 0;
    std::int64_t num_rows = 0;
    std::int64_t first_position = 0;  ///< row row_begin + i stands at position first_position + i
    KvStore* store = nullptr;         ///< keys and values of all positions, which the rows renew; null: the rows are all there is
    std::int64_t store_begin = 0;     ///< position 0 of this sequence in the store
    std::int64_t length = 0;          ///< positions of this sequence in the store

    std::int64_t row_end() const { return row_begin + num_rows; }
    std::int64_t position(std::int64_t row) const { return first_position + row - row_begin; }
  };
  /// Classifier-free guidance: the wanted rows first .. first + count - 1 stand with the prompt, the `count` behind them
  /// for the same positions without it.
  struct Guided {
    std::int64_t first = 0;  ///< among `wanted`
    std::int64_t count = 0;
    float weight = 1;        ///< scale + 1
  };
  /// What a row is fed besides its token's embedding: weight * values.
  struct Added {
    TokenRow row;
    float weight = 0;
    std::span<const float> values;  ///< [hidden]; must outlive the pass
  };
  std::vector<TokenId> tokens;      ///< [rows]
  std::vector<Sequence> sequences;  ///< ascending, covering all rows
  std::vector<TokenRow> wanted;     ///< ascending
  std::vector<Guided> guided;       ///< ascending
  std::vector<Added> added;

  std::int64_t num_rows() const { return static_cast<std::int64_t>(tokens.size()); }

  /// Appends a whole sequence; returns its first row.
  std::int64_t add(std::span<const TokenId> sequence_tokens) { return add(sequence_tokens, {}); }

  /// Appends the window of a sequence, of which `place` says where it stands and lies stored; returns its first row.
  std::int64_t add(std::span<const TokenId> window, Sequence place) {
    place.row_begin = num_rows();
    place.num_rows = static_cast<std::int64_t>(window.size());
    sequences.push_back(place);
    tokens.insert(tokens.end(), window.begin(), window.end());
    return place.row_begin;
  }
};

}  // namespace unmask::runtime
