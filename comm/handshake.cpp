// SPDX-License-Identifier: Apache-2.0
#include "comm/handshake.h"

#include <algorithm>
#include <map>
#include <vector>

#include "comm/blob.h"

namespace unmask::comm {
namespace {

struct RankFacts {
  std::string host;
  std::vector<std::string> values;  ///< in the order of everyone's facts
};

RankFacts read_facts(std::span<const std::byte> blob, Rank from, std::span<const Fact> expected) {
  BlobReader reader(blob, from);
  RankFacts facts{reader.text(), {}};
  const auto count = reader.number();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    // Another list of facts is another program: it shows as a fact that this rank does not have.
    const bool same_name = std::cmp_less(i, count) && reader.text() == expected[i].name;
    facts.values.push_back(same_name ? reader.text() : "(unknown to it)");
    if (!same_name) {
      facts.values.resize(expected.size(), "(unknown to it)");
      break;
    }
  }
  return facts;
}

/// What most ranks say; rank 0's word where as many say something else.
const std::string& majority(std::span<const RankFacts> ranks, std::size_t fact) {
  std::map<std::string_view, int> votes;
  for (const auto& rank : ranks) {
    ++votes[rank.values[fact]];
  }
  const std::string* best = &ranks.front().values[fact];
  for (const auto& rank : ranks) {
    if (votes[rank.values[fact]] > votes[*best]) {
      best = &rank.values[fact];
    }
  }
  return *best;
}

}  // namespace

void require_same(Communicator& comm, std::span<const Fact> mine) {
  BlobWriter writer;
  writer.text(comm.host());
  writer.number(static_cast<std::int64_t>(mine.size()));
  for (const auto& fact : mine) {
    writer.text(fact.name);
    writer.text(fact.value);
  }
  std::vector<RankFacts> ranks;
  for (const auto& blob : comm.all_gather(writer.blob())) {
    ranks.push_back(read_facts(blob, Rank(ranks.size()), mine));
  }
  for (std::size_t fact = 0; fact < mine.size(); ++fact) {
    const std::string& usual = majority(ranks, fact);
    const auto is_odd = [&](const RankFacts& rank) { return rank.values[fact] != usual; };
    const auto odd = std::find_if(ranks.begin(), ranks.end(), is_odd);
    const auto num_odd = std::count_if(ranks.begin(), ranks.end(), is_odd);
    require(odd == ranks.end(), ExitCode::kBadInput,
            "every rank must have the same {}: rank {} (host {}) has '{}', {} of {} ranks have '{}'{}: start the same program "
            "with the same files on every host",
            mine[fact].name, odd - ranks.begin(), odd == ranks.end() ? "" : odd->host, odd == ranks.end() ? "" : odd->values[fact],
            std::ssize(ranks) - num_odd, ranks.size(), usual,
            num_odd > 1 ? format(" ({} ranks are odd, this is the first)", num_odd) : "");
  }
}

void agree(Communicator& comm, const std::optional<Error>& mine) {
  BlobWriter writer;
  if (mine) {
    writer.number(static_cast<std::int64_t>(mine->code()));
    writer.text(comm.host());
    writer.text(mine->what());
  }
  const auto all = comm.all_gather(writer.blob());
  for (Rank rank(0); rank.value < comm.num_ranks(); ++rank) {
    if (all[rank.at()].empty()) {
      continue;
    }
    BlobReader reader(all[rank.at()], rank);
    const auto code = static_cast<ExitCode>(reader.number());
    const std::string host = reader.text();
    const std::string message = reader.text();
    fail_with(code, comm.num_ranks() > 1 ? format("rank {} host {}: {}", rank, host, message) : message);
  }
}

}  // namespace unmask::comm
