// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/step_agreement.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "comm/flight.h"
#include "comm/point_to_point.h"

namespace unmask::comm {
namespace {

constexpr std::int64_t kMostRows = std::int64_t{1} << 24;  // of a step, see --max-rows; they decide on how much is allocated
constexpr std::int64_t kEvenClass = 256;                   // largest that is given to all ranks alike

struct Word {
  std::uint64_t step = 0;
  std::int64_t rows = 0, wanted = 0, sequences = 0;
  std::uint64_t is_guided = 0;
  std::uint64_t votes = 0;
};

std::vector<std::int64_t> classes_of(const std::vector<StepRows>& ranks, std::int64_t StepRows::*count) {
  std::int64_t most = 0;
  for (const StepRows& rank : ranks) {
    most = std::max(most, rank.*count);
  }
  std::vector<std::int64_t> classes;
  for (const StepRows& rank : ranks) {
    classes.push_back(size_class(size_class(most) <= kEvenClass ? most : rank.*count));
  }
  return classes;
}

}  // namespace

AgreedStep StepAgreement::agree(Vote vote, const StepRows& mine) {
  PointToPoint& wires = comm_.wires();
  const JobView& job = wires.job();
  const Word word{.step = ++step_, .rows = mine.rows, .wanted = mine.wanted, .sequences = mine.sequences, .is_guided = mine.is_guided ? 1U : 0U, .votes = static_cast<std::uint64_t>(vote)};
  std::vector<Word> words(size(job.num_ranks()));
  words[job.rank.at()] = word;
  Flight flight(wires, "agree on a step");
  for_each_peer(job, [&](Rank rank) { flight.receive(Lane::kControl, rank, std::as_writable_bytes(std::span(&words[rank.at()], 1))); });
  for_each_peer(job, [&](Rank rank) { flight.send(Lane::kControl, rank, std::as_bytes(std::span(&word, 1))); });
  flight.wait();

  AgreedStep agreed;
  for (Rank rank(0); rank.value < job.num_ranks(); ++rank) {
    const Word& said = words[rank.at()];
    require(said.step == step_, ExitCode::kPeerLost, "rank {} (host {}) is in step {}, this rank in {}: out of step", rank,
            job.hosts[rank.at()], said.step, step_);
    require(said.rows >= 0 && said.rows <= kMostRows && said.wanted >= 0 && said.wanted <= said.rows && said.sequences >= 0 &&
                said.sequences <= said.rows, ExitCode::kPeerLost,
            "rank {} (host {}) announces {} rows of at most {}, {} wanted ones and {} sequences: its memory or the wire is bad", rank,
            job.hosts[rank.at()], said.rows, kMostRows, said.wanted, said.sequences);
    agreed.votes = agreed.votes | Vote(static_cast<std::uint32_t>(said.votes));
    agreed.ranks.push_back({.rows = said.rows, .wanted = said.wanted, .sequences = said.sequences, .is_guided = said.is_guided != 0});
  }
  return agreed;
}

std::int64_t size_class(std::int64_t rows) {
  const std::int64_t step = rows <= 256 ? 16 : rows <= 1024 ? 64 : 256;
  return (rows + step - 1) / step * step;
}

StepShape shape_of(const AgreedStep& step) {
  std::int64_t sequences = 1;
  for (const StepRows& rank : step.ranks) {
    sequences = std::max(sequences, rank.sequences);
  }
  return {.rows = classes_of(step.ranks, &StepRows::rows), .wanted = classes_of(step.ranks, &StepRows::wanted),
          .sequences = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(sequences))),
          .is_guided = std::ranges::any_of(step.ranks, &StepRows::is_guided)};
}

StepShape room_for(const StepShape& a, const StepShape& b) {
  const auto larger = [](std::vector<std::int64_t> rows, const std::vector<std::int64_t>& others) {
    rows.resize(std::max(rows.size(), others.size()));
    for (std::size_t rank = 0; rank < others.size(); ++rank) {
      rows[rank] = std::max(rows[rank], others[rank]);
    }
    return rows;
  };
  return {.rows = larger(a.rows, b.rows), .wanted = larger(a.wanted, b.wanted), .sequences = std::max(a.sequences, b.sequences),
          .is_guided = false};
}

}  // namespace unmask::comm
