// SPDX-License-Identifier: Apache-2.0
#include "comm/handshake.h"

#include <algorithm>
#include <map>
#include <new>
#include <vector>

#include "base/byte_stream.h"
#include "comm/communicator.h"

namespace unmask::comm {
namespace {

struct RankFacts {
  std::string host;
  std::vector<Fact> facts;  ///< the first one is made of the names of the others
};

/// Another list of facts is another program; that must show in the same way on every rank, so the list is a fact itself.
std::vector<Fact> with_names(std::span<const Fact> facts) {
  std::vector<Fact> all{{"list of start-up facts", ""}};
  for (const auto& fact : facts) {
    all.front().value += (all.size() > 1 ? ", " : "") + fact.name;
    all.push_back(fact);
  }
  return all;
}

Bytes write_facts(const RankFacts& mine) {
  ByteWriter writer;
  writer.put(mine.host).put(static_cast<std::uint64_t>(mine.facts.size()));
  for (const auto& fact : mine.facts) {
    writer.put(fact.name).put(fact.value);
  }
  return writer.take();
}

RankFacts read_facts(std::span<const std::byte> blob, Rank from) {
  ByteReader reader(blob, from);
  RankFacts theirs{reader.get_text(), {}};
  for (auto left = reader.get<std::uint64_t>(); left > 0; --left) {
    auto& fact = theirs.facts.emplace_back();
    fact.name = reader.get_text();
    fact.value = reader.get_text();
  }
  return theirs;
}

/// What most ranks say; rank 0's word where as many say something else.
const std::string& majority(std::span<const RankFacts> ranks, std::size_t fact) {
  std::map<std::string_view, int> votes;
  for (const auto& rank : ranks) {
    ++votes[rank.facts[fact].value];
  }
  const std::string* best = &ranks.front().facts[fact].value;
  for (const auto& rank : ranks) {
    if (votes[rank.facts[fact].value] > votes[*best]) {
      best = &rank.facts[fact].value;
    }
  }
  return *best;
}

void require_same_fact(std::span<const RankFacts> ranks, std::size_t fact) {
  const std::string& usual = majority(ranks, fact);
  const auto is_odd = [&](const RankFacts& rank) { return rank.facts[fact].value != usual; };
  const auto odd = std::find_if(ranks.begin(), ranks.end(), is_odd);
  if (odd == ranks.end()) {
    return;
  }
  const auto num_odd = std::count_if(ranks.begin(), ranks.end(), is_odd);
  fail(ExitCode::kBadInput,
       "every rank must have the same {}: rank {} (host {}) has '{}', {} of {} ranks have '{}'{}: start the same program with "
       "the same files and options on every host",
       odd->facts[fact].name, odd - ranks.begin(), odd->host, odd->facts[fact].value, std::ssize(ranks) - num_odd, ranks.size(),
       usual, num_odd > 1 ? format(" ({} ranks are odd, this is the first)", num_odd) : "");
}

}  // namespace

void require_same(Communicator& comm, std::span<const Fact> mine) {
  std::vector<RankFacts> ranks;
  for (const auto& blob : comm.all_gather(write_facts({comm.host(), with_names(mine)}))) {
    ranks.push_back(read_facts(blob, Rank(ranks.size())));
  }
  for (std::size_t fact = 0; fact < ranks[comm.rank().at()].facts.size(); ++fact) {
    require_same_fact(ranks, fact);
  }
}

void agree(Communicator& comm, const std::optional<Error>& mine) {
  ByteWriter writer;
  if (mine) {
    writer.put(mine->code()).put(comm.host()).put(std::string_view(mine->what()));
  }
  const auto all = comm.all_gather(writer.take());
  for (Rank rank(0); rank.value < comm.num_ranks(); ++rank) {
    if (all[rank.at()].empty()) {
      continue;
    }
    ByteReader reader(all[rank.at()], rank);
    const auto code = reader.get<ExitCode>();
    const std::string host = reader.get_text();
    const std::string message = reader.get_text();
    fail_with(code, comm.num_ranks() > 1 ? format("rank {} host {}: {}", rank, host, message) : message);
  }
}

void run_together(Communicator& comm, const std::function<void()>& part) {
  std::optional<Error> mine;
  try {
    part();
  } catch (const Error& error) {
    mine = error;
  } catch (const std::bad_alloc&) {
    mine.emplace(ExitCode::kBadInput, "there is not enough memory on this host: use more ranks on more hosts, or a smaller input");
  }
  agree(comm, mine);
}

}  // namespace unmask::comm
