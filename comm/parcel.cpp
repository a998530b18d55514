// SPDX-License-Identifier: Apache-2.0
#include "comm/parcel.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace unmask::comm {
namespace {

constexpr std::int64_t kPairBytes = sizeof(float) + sizeof(std::uint16_t);
constexpr std::int64_t kCountBytes = sizeof(std::uint16_t);

template <class T>
std::byte* put(const std::vector<T>& values, std::byte* out) {
  const auto bytes = std::as_bytes(std::span(values));
  return std::copy(bytes.begin(), bytes.end(), out);
}

template <class T>
const std::byte* get(const std::byte* in, std::size_t count, std::vector<T>& values) {
  values.resize(count);
  std::copy_n(in, count * sizeof(T), std::as_writable_bytes(std::span(values)).begin());
  return in + count * sizeof(T);
}

/// The pairs of every row must be there, name experts of ours, and ascend: later stages subscript with them.
void validate(const Parcel& parcel, Rank from, std::int64_t num_held) {
  std::size_t pair = 0;
  for (std::size_t row = 0; row < parcel.num_experts.size(); ++row) {
    const std::size_t end = pair + parcel.num_experts[row];
    require(end > pair && end <= parcel.experts.size(), ExitCode::kPeerLost,
            "message from rank {}: row {} claims {} experts, {} of {} are left: its memory or the wire is bad", from, row,
            parcel.num_experts[row], parcel.experts.size() - pair, parcel.experts.size());
    for (std::size_t first = pair; pair < end; ++pair) {
      require(parcel.experts[pair] < num_held && (pair == first || parcel.experts[pair] > parcel.experts[pair - 1]),
              ExitCode::kPeerLost,
              "message from rank {}: row {} names local expert {}, expected ascending ones below {}: do all ranks use the same "
              "placement?",
              from, row, parcel.experts[pair], num_held);
    }
  }
  require(pair == parcel.experts.size(), ExitCode::kPeerLost, "message from rank {}: {} experts announced, rows claim {}", from,
          parcel.experts.size(), pair);
}

/// Finds chunk_begin from each row's first expert.
void find_chunks(Parcel& parcel, Rank from, Rank me, const ChunkGrid& grid) {
  parcel.chunk_begin.assign(size(grid.num_chunks() + 1), 0);
  std::size_t pair = 0;
  std::int64_t last = 0;
  for (std::size_t row = 0; row < parcel.num_experts.size(); ++row) {
    const std::int64_t chunk = grid.chunk_of(me, parcel.experts[pair]);
    require(chunk >= last, ExitCode::kPeerLost, "message from rank {}: row {} of chunk {} comes after one of chunk {}", from, row,
            chunk, last);
    last = chunk;
    ++parcel.chunk_begin[size(chunk + 1)];
    pair += parcel.num_experts[row];
  }
  for (std::size_t chunk = 1; chunk < parcel.chunk_begin.size(); ++chunk) {
    parcel.chunk_begin[chunk] += parcel.chunk_begin[chunk - 1];
  }
}

}  // namespace

std::int64_t routing_bytes(std::int64_t num_rows, std::int64_t num_pairs) { return num_rows * kCountBytes + num_pairs * kPairBytes; }

void write_routing(const Parcel& parcel, std::byte* message) {
  message = put(parcel.weights, message);
  message = put(parcel.experts, message);
  put(parcel.num_experts, message);
}

void read_routing(const std::byte* message, const ParcelHead& head, Rank from, Rank me, const ChunkGrid& grid,
                  std::int64_t num_held, Parcel& parcel) {
  message = get(message, head.num_pairs, parcel.weights);
  message = get(message, head.num_pairs, parcel.experts);
  get(message, head.num_rows, parcel.num_experts);
  validate(parcel, from, num_held);
  find_chunks(parcel, from, me, grid);
}

Packer::Packer(const cluster::Placement& placement, const ChunkGrid& grid)
    : placement_(placement), grid_(grid), cursors_(size(placement.num_ranks() * grid.num_chunks())),
      last_row_(size(placement.num_ranks())), here_(size(placement.num_ranks())) {}

void Packer::check(const cluster::Routing& routing) const {
  const std::int64_t num_pairs = routing.num_rows * routing.top_k;
  UNMASK_CHECK(routing.ids.size() == size(num_pairs) && routing.weights.size() == size(num_pairs),
               "{} rows, top {}, {} ids, {} weights", routing.num_rows, routing.top_k, routing.ids.size(), routing.weights.size());
  UNMASK_CHECK(std::in_range<std::int32_t>(num_pairs), "{} rows, top {}", routing.num_rows, routing.top_k);
  for (std::int64_t pair = 0; pair < num_pairs; ++pair) {
    const ExpertId id = routing.ids[size(pair)];
    const ExpertId last = pair % routing.top_k == 0 ? ExpertId(-1) : routing.ids[size(pair - 1)];
    UNMASK_CHECK(id > last && id.value < placement_.num_experts(), "row {}: expert {} after {} of {}", pair / routing.top_k, id,
                 last, placement_.num_experts());
  }
}

/// Sizes the parcels and sets the cursors.
void Packer::count(const cluster::Routing& routing, std::vector<Parcel>& parcels) {
  const std::int64_t num_chunks = grid_.num_chunks();
  std::fill(cursors_.begin(), cursors_.end(), Cursor{});
  std::fill(last_row_.begin(), last_row_.end(), -1);
  for (std::int64_t pair = 0; pair < routing.num_rows * routing.top_k; ++pair) {
    const ExpertId id = routing.ids[size(pair)];
    const Rank to = placement_.owner(id);
    if (std::exchange(last_row_[to.at()], pair / routing.top_k) != pair / routing.top_k) {
      here_[to.at()] = &cursors_[size(to.value * num_chunks + grid_.chunk_of(to, placement_.local(id).value))];
      ++here_[to.at()]->row;
    }
    ++here_[to.at()]->pair;
  }
  for (std::size_t to = 0; to < parcels.size(); ++to) {
    Parcel& parcel = parcels[to];
    parcel.chunk_begin.assign(1, 0);
    Cursor begin;
    for (std::int64_t chunk = 0; chunk < num_chunks; ++chunk) {
      Cursor& cursor = cursors_[to * size(num_chunks) + size(chunk)];
      begin.row += std::exchange(cursor.row, begin.row);
      begin.pair += std::exchange(cursor.pair, begin.pair);
      parcel.chunk_begin.push_back(begin.row);
    }
    parcel.rows.resize(size(begin.row));
    parcel.num_experts.assign(size(begin.row), 0);
    parcel.places.resize(size(begin.pair));
    parcel.experts.resize(size(begin.pair));
    parcel.weights.resize(size(begin.pair));
  }
}

void Packer::pack(const cluster::Routing& routing, std::vector<Parcel>& parcels) {
  check(routing);
  count(routing, parcels);
  std::fill(last_row_.begin(), last_row_.end(), -1);
  for (std::int64_t pair = 0; pair < routing.num_rows * routing.top_k; ++pair) {
    const std::int64_t row = pair / routing.top_k;
    const ExpertId id = routing.ids[size(pair)];
    const Rank to = placement_.owner(id);
    const std::int64_t local = placement_.local(id).value;
    Parcel& parcel = parcels[to.at()];
    if (std::exchange(last_row_[to.at()], row) != row) {
      here_[to.at()] = &cursors_[size(to.value * grid_.num_chunks() + grid_.chunk_of(to, local))];
      parcel.rows[size(here_[to.at()]->row++)] = narrow<std::int32_t>(row);
    }
    Cursor& here = *here_[to.at()];
    ++parcel.num_experts[size(here.row - 1)];
    const std::size_t at = size(here.pair++);
    parcel.places[at] = static_cast<std::int32_t>(pair);
    parcel.experts[at] = static_cast<std::uint16_t>(local);
    parcel.weights[at] = routing.weights[size(pair)];
  }
}

}  // namespace unmask::comm
