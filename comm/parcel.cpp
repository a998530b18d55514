// SPDX-License-Identifier: Apache-2.0
#include "comm/parcel.h"

#include <algorithm>

#include "base/error.h"
#include "comm/wire_format.h"

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

}  // namespace

void Parcel::clear() {
  rows.clear();
  num_experts.clear();
  experts.clear();
  weights.clear();
}

std::int64_t parcel_bytes(std::int64_t num_rows, std::int64_t num_pairs, const ExchangeOptions& options) {
  return num_rows * (options.hidden * value_bytes(options.wire) + kCountBytes) + num_pairs * kPairBytes;
}

void write_parcel(const Parcel& parcel, const float* rows, const ExchangeOptions& options, std::byte* message) {
  for (const auto row : parcel.rows) {
    message = encode(rows + row * options.hidden, options.hidden, options.wire, message);
  }
  message = put(parcel.weights, message);
  message = put(parcel.experts, message);
  put(parcel.num_experts, message);
}

void read_parcel(const std::byte* message, const ParcelHead& head, Rank from, std::int64_t num_held,
                 const ExchangeOptions& options, Parcel& parcel, float* values) {
  message = decode(message, head.num_rows * options.hidden, options.wire, values);
  message = get(message, head.num_pairs, parcel.weights);
  message = get(message, head.num_pairs, parcel.experts);
  get(message, head.num_rows, parcel.num_experts);
  validate(parcel, from, num_held);
}

void pack(const cluster::Routing& routing, const cluster::Placement& placement, std::vector<Parcel>& parcels) {
  const std::int64_t num_pairs = routing.num_rows * routing.top_k;
  UNMASK_CHECK(routing.ids.size() == size(num_pairs) && routing.weights.size() == size(num_pairs),
               "{} rows, top {}, {} ids, {} weights", routing.num_rows, routing.top_k, routing.ids.size(), routing.weights.size());
  for (auto& parcel : parcels) {
    parcel.clear();
  }
  for (std::int64_t row = 0; row < routing.num_rows; ++row) {
    ExpertId last(-1);
    for (std::int64_t pair = row * routing.top_k; pair < (row + 1) * routing.top_k; ++pair) {
      const ExpertId id = routing.ids[size(pair)];
      UNMASK_CHECK(id > last && id.value < placement.num_experts(), "row {}: expert {} after {} of {}", row, id, last,
                   placement.num_experts());
      last = id;
      auto& parcel = parcels[placement.owner(id).at()];
      if (parcel.rows.empty() || parcel.rows.back() != row) {
        parcel.rows.push_back(narrow<std::int32_t>(row));
        parcel.num_experts.push_back(0);
      }
      ++parcel.num_experts.back();
      parcel.experts.push_back(static_cast<std::uint16_t>(placement.local(id).value));
      parcel.weights.push_back(routing.weights[size(pair)]);
    }
  }
}

}  // namespace unmask::comm
