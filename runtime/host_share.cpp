// SPDX-License-Identifier: Apache-2.0
//   first rank of a host: makes memory --offer--> the others: map it --word--> all: everyone has it, or nobody of this host
//
// Errors travel as words: no rank leaves before all know.
#include "runtime/host_share.h"

#include <algorithm>
#include <functional>
#include <map>
#include <new>
#include <optional>
#include <vector>

#include "base/byte_stream.h"

namespace unmask::runtime {
namespace {

/// What went wrong; empty where nothing did.
std::string try_to(const std::function<void()>& part) {
  try {
    part();
    return {};
  } catch (const Error& error) {
    return error.what();
  } catch (const std::bad_alloc&) {
    return "not enough memory";
  }
}

/// The ranks of each host, ascending.
std::map<std::string, std::vector<Rank>> ranks_by_host(comm::Communicator& comm) {
  std::map<std::string, std::vector<Rank>> hosts;
  Rank rank(0);
  for (const auto& bytes : comm.all_gather(ByteWriter().put(comm.host()).take())) {
    hosts[ByteReader(bytes).get_text()].push_back(rank);
    ++rank;
  }
  return hosts;
}

comm::Bytes pack(const cluster::SharedMemory::Offer& offer) {
  return ByteWriter().put(offer.process).put(offer.descriptor).put(offer.name).put(offer.bytes).take();
}

cluster::SharedMemory::Offer unpack(std::span<const std::byte> bytes, Rank from) {
  ByteReader reader(bytes, from);
  cluster::SharedMemory::Offer offer;
  offer.process = reader.get<std::int64_t>();
  offer.descriptor = reader.get<std::int32_t>();
  offer.name = reader.get_text();
  offer.bytes = reader.get<std::uint64_t>();
  return offer;
}

/// What went wrong on a rank, in its words, from an all-gather of them.
std::string first_trouble(std::span<const comm::Bytes> words, std::span<const Rank> ranks) {
  for (const Rank rank : ranks) {
    if (const std::string why = ByteReader(words[rank.at()]).get_text(); !why.empty()) {
      return format("rank {}: {}", rank, why);
    }
  }
  return {};
}

void tell(const Logger* log, const std::string& host, std::size_t num_ranks, std::uint64_t bytes, const std::string& trouble) {
  const double gb = 1e-9 * static_cast<double>(bytes);
  if (trouble.empty()) {
    log->debug("host {}: {} ranks share one copy of {:.3g} GB of weights", host, num_ranks, gb);
  } else {
    log->warning("host {}: its {} ranks hold a copy each of {:.3g} GB of weights that they could share: {}", host, num_ranks, gb, trouble);
  }
}

}  // namespace

WeightShare share_on_host(comm::Communicator& comm, std::uint64_t bytes, const Logger* log) {
  const auto hosts = ranks_by_host(comm);
  if (bytes == 0 || std::ranges::all_of(hosts, [](const auto& host) { return host.second.size() == 1; })) {
    return {};
  }
  const std::vector<Rank>& mine = hosts.at(comm.host());
  const auto place = std::ranges::find(mine, comm.rank()) - mine.begin();
  std::optional<cluster::SharedMemory> memory;
  comm::Bytes offer;
  std::string trouble = try_to([&] {
    if (mine.size() > 1 && place == 0) {
      memory.emplace(cluster::SharedMemory::create(bytes));
      offer = pack(memory->offer());
    }
  });
  const auto offers = comm.all_gather(offer);
  if (const auto& first = offers[mine.front().at()]; place > 0 && !first.empty()) {
    trouble = try_to([&] { memory.emplace(cluster::SharedMemory::take(unpack(first, mine.front()))); });
  }
  const auto words = comm.all_gather(ByteWriter().put(trouble).take());
  for (const auto& [host, ranks] : hosts) {
    if (comm.is_root() && log != nullptr && ranks.size() > 1) {
      tell(log, host, ranks.size(), bytes, first_trouble(words, ranks));
    }
  }
  if (mine.size() == 1 || !first_trouble(words, mine).empty()) {
    return {};
  }
  memory->end_offer();
  return {.memory = std::make_shared<const cluster::SharedMemory>(*std::move(memory)), .part = place, .num_parts = std::ssize(mine)};
}

}  // namespace unmask::runtime
