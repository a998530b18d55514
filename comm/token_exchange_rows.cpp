// SPDX-License-Identifier: Apache-2.0
// The values of rows: out, in, back, summed. All of it is divided among the team.
#include <algorithm>

#include "base/error.h"
#include "comm/token_exchange.h"
#include "comm/wire_format.h"

namespace unmask::comm {
namespace {

constexpr std::int64_t kRowsPerTask = 16;

}  // namespace

/// For each of `count` tasks; the processor time counts as moving bytes.
template <class Task>
void TokenExchange::spread(std::int64_t count, const Task& task) {
  team_.for_each(count, [&](std::int64_t i) { accounts_.meter.work([&] { task(i); }); });
}

void TokenExchange::send_rows() {
  const std::int64_t bytes_of_row = options_.hidden * value_bytes(options_.wire);
  for (const auto& message : plan_rows_out_.issue_before(grid_.num_chunks())) {
    const Parcel& parcel = parcels_out_[message.peer.at()];
    const std::int64_t begin = parcel.chunk_begin[size(message.cut.begin)];
    const std::int64_t end = parcel.chunk_begin[size(message.cut.end)];
    std::byte* out = rows_out_.of(message.peer);
    spread((end - begin + kRowsPerTask - 1) / kRowsPerTask, [&](std::int64_t task) {
      const std::int64_t last = std::min(end, begin + (task + 1) * kRowsPerTask);
      for (std::int64_t row = begin + task * kRowsPerTask; row < last; ++row) {
        encode(own_input_.data() + parcel.rows[size(row)] * options_.hidden, options_.hidden, options_.wire, out + row * bytes_of_row);
      }
    });
    rows_sent_.next(message.cut.bytes).send(dispatch_lane_, message.peer, {out + message.offset, size(message.cut.bytes)});
    accounts_.statistics.wire_bytes += size(message.cut.bytes);
  }
}

/// This rank's own rows among those of the work; where there are no others, the work refers to the caller's.
void TokenExchange::take_own_rows() {
  const Parcel& own = parcels_out_[job_.rank.at()];
  const bool all_from_here = own.num_rows() == arrivals_.num_rows() && own.num_rows() == row_sums_.num_rows() &&
                             std::is_sorted(own.rows.begin(), own.rows.end());
  if (all_from_here) {
    rows_ = own_input_;
    return;
  }
  row_values_.grow(arrivals_.num_rows() * options_.hidden);
  rows_ = row_values_.span().first(size(arrivals_.num_rows() * options_.hidden));
  float* values = row_values_.data() + arrivals_.rows_begin(job_.rank) * options_.hidden;
  spread((own.num_rows() + kRowsPerTask - 1) / kRowsPerTask, [&](std::int64_t task) {
    const std::int64_t last = std::min(own.num_rows(), (task + 1) * kRowsPerTask);
    for (std::int64_t row = task * kRowsPerTask; row < last; ++row) {
      std::copy_n(own_input_.data() + own.rows[size(row)] * options_.hidden, options_.hidden, values + row * options_.hidden);
    }
  });
}

/// The rows of blocks, which came with the heads.
void TokenExchange::take_block_rows() {
  const std::int64_t bytes_of_row = options_.hidden * value_bytes(options_.wire);
  for_each_peer(job_, [&](Rank rank) {
    const Peer& peer = peers_[rank.at()];
    if (peer.head.in_block == 0) {
      return;
    }
    float* values = row_values_.data() + arrivals_.rows_begin(rank) * options_.hidden;
    spread((peer.parcel.num_rows() + kRowsPerTask - 1) / kRowsPerTask, [&](std::int64_t task) {
      const std::int64_t last = std::min(peer.parcel.num_rows(), (task + 1) * kRowsPerTask);
      for (std::int64_t row = task * kRowsPerTask; row < last; ++row) {
        decode(peer.block.values() + peer.parcel.rows[size(row)] * bytes_of_row, options_.hidden, options_.wire, values + row * options_.hidden);
      }
    });
  });
}

cluster::ExpertWork TokenExchange::receive(std::int64_t chunk) {
  now_doing("wait for rows", chunk);
  wait(rows_received_, size(chunk));
  now_doing("take rows", chunk);
  const std::int64_t begin = chunk == 0 ? 0 : chunk_ends_[size(chunk - 1)];
  const std::int64_t end = chunk_ends_[size(chunk)];
  for (const auto& message : plan_rows_in_.all()) {
    if (message.cut.begin >= begin && message.cut.begin < end) {
      take_rows(message);
    }
  }
  cluster::ExpertWork work = arrivals_.work(begin, end);
  work.rows = rows_;
  accounts_.statistics.num_pairs += std::ssize(work.assignments);
  now_doing(Accounts::kExperts, chunk);
  return work;
}

void TokenExchange::take_rows(const MessagePlan::Message& message) {
  const Parcel& parcel = peers_[message.peer.at()].parcel;
  const std::int64_t begin = parcel.chunk_begin[size(message.cut.begin)];
  const std::int64_t end = parcel.chunk_begin[size(message.cut.end)];
  const std::byte* in = rows_in_.of(message.peer);
  float* values = row_values_.data() + arrivals_.rows_begin(message.peer) * options_.hidden;
  spread((end - begin + kRowsPerTask - 1) / kRowsPerTask, [&](std::int64_t task) {
    const std::int64_t first = begin + task * kRowsPerTask;
    const std::int64_t count = std::min(end - first, kRowsPerTask) * options_.hidden;
    decode(in + first * options_.hidden * value_bytes(options_.wire), count, options_.wire, values + first * options_.hidden);
  });
}

void TokenExchange::give_back(std::int64_t chunk, std::span<const float> slots) {
  UNMASK_CHECK(slots.size() == size(arrivals_.num_slots() * options_.hidden), "{} values for {} slots", slots.size(),
               arrivals_.num_slots());
  slots_ = slots;
  now_doing("give back", chunk);
  for (const auto& message : plan_back_.issue_before(chunk_ends_[size(chunk)])) {
    const ReturnPlan& plan = peers_[message.peer.at()].back;
    const auto returning = plan.returning(message.cut.begin, message.cut.end);
    std::byte* out = back_out_.of(message.peer);
    spread((std::ssize(returning) + kRowsPerTask - 1) / kRowsPerTask, [&](std::int64_t task) {
      const std::int64_t last = std::min(std::ssize(returning), (task + 1) * kRowsPerTask);
      for (std::int64_t i = task * kRowsPerTask; i < last; ++i) {
        const std::int32_t at = returning[size(i)];
        const auto& slot = plan.slots()[size(at)];
        encode(slots.data() + arrivals_.slots_of(message.peer)[size(at)] * options_.hidden, options_.hidden,
               slot.whole ? options_.wire : WireType::kFloat32, out + slot.offset);
      }
    });
    sums_sent_.next(message.cut.bytes).send(combine_lane_, message.peer, {out + message.offset, size(message.cut.bytes)});
    accounts_.statistics.wire_bytes += size(message.cut.bytes);
  }
}

void TokenExchange::combine(std::span<float> values) {
  UNMASK_CHECK(values.size() == size(row_sums_.num_rows() * options_.hidden), "{} values for {} rows", values.size(), row_sums_.num_rows());
  now_doing("wait for sums");
  wait(sums_received_, sums_received_.size());
  now_doing("sum");
  spread((row_sums_.num_rows() + kRowsPerTask - 1) / kRowsPerTask, [&](std::int64_t task) {
    const std::int64_t last = std::min(row_sums_.num_rows(), (task + 1) * kRowsPerTask);
    for (std::int64_t row = task * kRowsPerTask; row < last; ++row) {
      row_sums_.add(row, slots_.data(), values.data() + row * options_.hidden);
    }
  });
  wait(rows_sent_, rows_sent_.size());
  wait(sums_sent_, sums_sent_.size());
  now_doing("the rest of the layer");
  is_under_way_ = false;
  if (other_ == nullptr || !other_->is_under_way_) {
    team_.set_between_tasks([this] { wires_.works(); });
  }
}

}  // namespace unmask::comm
