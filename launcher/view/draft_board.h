// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/types.h"
#include "launcher/text/wire.h"
#include "launcher/view/layout.h"

namespace unmask::launcher {

/// The answers in the making, as the live view shows them.
class DraftBoard {
 public:
  /// The text of each of some neighbouring tokens; the parts of a character that spans tokens come with its last token.
  using Decode = std::function<std::vector<std::string>(std::span<const TokenId>)>;
  explicit DraftBoard(Decode decode) : decode_(std::move(decode)) {}

  void add(std::int64_t number, std::int64_t prompt_length, std::int64_t gen_length);
  void apply(const Draft& draft);
  /// The answer is whole: nothing is masked any more, nothing fresh.
  void finish(std::int64_t number, std::span<const TokenId> tokens);
  void remove(std::int64_t number) { drafts_.erase(number); }

  /// Numbers of the answers that have begun, ascending.
  std::vector<std::int64_t> begun() const;
  std::vector<Piece> pieces(std::int64_t number) const;
  std::int64_t passes() const { return passes_; }        ///< steps seen so far
  std::int64_t num_unmasked() const { return unmasked_; }

 private:
  struct State {
    std::int64_t prompt_length = 0;
    std::vector<TokenId> cells;  ///< -1: masked
    std::vector<bool> fresh;
    bool begun = false;
  };
  Decode decode_;
  std::map<std::int64_t, State> drafts_;
  std::int64_t passes_ = 0;
  std::int64_t unmasked_ = 0;
};

}  // namespace unmask::launcher
