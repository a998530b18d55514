// SPDX-License-Identifier: Apache-2.0
#include "launcher/view/draft_board.h"

namespace unmask::launcher {
namespace {

constexpr TokenId kMaskedCell = -1;
constexpr const char* kMaskedGlyph = "\xE2\x96\x91";  // light shade: one column everywhere

}  // namespace

void DraftBoard::add(std::int64_t number, std::int64_t prompt_length, std::int64_t gen_length) {
  drafts_[number] = {.prompt_length = prompt_length,
                     .cells = std::vector<TokenId>(size(gen_length), kMaskedCell),
                     .fresh = std::vector<bool>(size(gen_length))};
}

void DraftBoard::apply(const Draft& draft) {
  const auto at = drafts_.find(draft.number);
  if (at == drafts_.end()) {
    return;
  }
  State& state = at->second;
  state.begun = true;
  state.fresh.assign(state.fresh.size(), false);
  for (const runtime::Unmasked& u : draft.unmasked) {
    const std::int64_t cell = u.position - state.prompt_length;
    UNMASK_CHECK(cell >= 0 && size(cell) < state.cells.size(), "position {} of answer {}", u.position, draft.number);
    state.cells[size(cell)] = u.token;
    state.fresh[size(cell)] = true;
  }
  ++passes_;
  unmasked_ += static_cast<std::int64_t>(draft.unmasked.size());
}

void DraftBoard::finish(std::int64_t number, std::span<const TokenId> tokens) {
  if (const auto at = drafts_.find(number); at != drafts_.end()) {
    at->second.cells.assign(tokens.begin(), tokens.end());
    at->second.fresh.assign(tokens.size(), false);
    at->second.begun = true;
  }
}

std::vector<std::int64_t> DraftBoard::begun() const {
  std::vector<std::int64_t> numbers;
  for (const auto& [number, state] : drafts_) {
    if (state.begun) {
      numbers.push_back(number);
    }
  }
  return numbers;
}

std::vector<Piece> DraftBoard::pieces(std::int64_t number) const {
  const State& state = drafts_.at(number);
  std::vector<Piece> out;
  for (std::size_t i = 0; i < state.cells.size();) {
    if (state.cells[i] == kMaskedCell) {
      out.push_back({.text = kMaskedGlyph, .style = Piece::Style::kMasked});
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < state.cells.size() && state.cells[end] != kMaskedCell) {
      ++end;
    }
    const auto texts = decode_(std::span(state.cells).subspan(i, end - i));
    for (std::size_t j = 0; j < texts.size(); ++j) {
      if (!texts[j].empty()) {
        out.push_back({.text = texts[j], .style = state.fresh[i + j] ? Piece::Style::kFresh : Piece::Style::kSettled});
      }
    }
    i = end;
  }
  return out;
}

}  // namespace unmask::launcher
