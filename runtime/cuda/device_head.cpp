// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/device_head.h"

#include <algorithm>

#include "base/error.h"
#include "comm/nccl/step_agreement.h"

namespace unmask::runtime::cuda {
namespace {

using experts::cuda::Count;
using experts::cuda::DeviceQuery;
using experts::cuda::DeviceSummary;
using experts::cuda::Inputs;

constexpr std::int64_t kRowsAtOnce = 256;
constexpr std::int64_t kTokensAtOnce = 1 << 16;  // with 256 rows 64 MiB of logits
static_assert(kTokensAtOnce % experts::cuda::kHeadTile == 0 && kTokensAtOnce % experts::cuda::kExpectationTokens == 0);

std::int32_t word(std::int64_t value) { return narrow<std::int32_t>(value); }

DeviceQuery device_query(const HeadQuery& query, std::int64_t apart_begin) {
  DeviceQuery out{.excluded = query.excluded, .apart_begin = word(apart_begin),
                  .apart_end = word(apart_begin + static_cast<std::int64_t>(query.apart.size())), .has_noise = 0, .noise_key = {0, 0},
                  .position = 0, .step = 0, .temperature = 0};
  if (query.noise) {
    const auto key = query.noise->noise.key();
    out.has_noise = 1;
    out.noise_key[0] = key[0];
    out.noise_key[1] = key[1];
    out.position = static_cast<std::uint32_t>(query.noise->position);
    out.step = static_cast<std::uint32_t>(query.noise->step);
    out.temperature = query.noise->temperature;
  }
  return out;
}

}  // namespace

std::vector<std::int64_t> DeviceHead::widths() const {
  std::vector<std::int64_t> widths;
  if (config_.vocab_size >= kTokensAtOnce) {
    widths.push_back(kTokensAtOnce);
  }
  if (const std::int64_t rest = config_.vocab_size % kTokensAtOnce; rest > 0) {
    widths.push_back(rest);
  }
  return widths;
}

Inputs DeviceHead::from(Inputs rows, std::int64_t row) const {
  const std::int64_t value_bytes = precision_ == experts::Precision::kFloat32 ? 4 : 2;
  return {static_cast<const std::byte*>(rows.data) + row * config_.hidden * value_bytes, rows.precision};
}

std::vector<DeviceHead::Piece> DeviceHead::cut(std::span<const HeadQuery> queries) const {
  std::vector<Piece> pieces;
  for (std::int64_t begin = 0; begin < std::ssize(queries); begin += kRowsAtOnce) {
    const std::int64_t end = std::min<std::int64_t>(begin + kRowsAtOnce, std::ssize(queries));
    const auto rows = queries.subspan(size(begin), size(end - begin));
    pieces.push_back({begin, end, std::ranges::any_of(rows, [](const auto& q) { return q.expectation != Expectation::kNone; })});
  }
  return pieces;
}

void DeviceHead::send_queries(std::span<const HeadQuery> queries, const std::vector<Piece>& pieces, cudaStream_t stream) {
  const auto rows = std::ssize(queries);
  num_apart_ = 0;
  for (const HeadQuery& query : queries) {
    num_apart_ += std::ssize(query.apart);
  }
  for (auto* array : {&apart_, &counts_}) {
    array->grow(std::max(num_apart_, std::ssize(pieces)));
  }
  host_apart_.grow(num_apart_);
  host_counts_.grow(std::ssize(pieces));
  host_queries_.grow(rows);
  queries_.grow(rows);
  std::int64_t apart = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    const HeadQuery& query = queries[size(r)];
    host_queries_.data()[r] = device_query(query, apart);
    for (const TokenId token : query.apart) {
      host_apart_.data()[apart++] = token;
    }
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    host_counts_.data()[i] = word(pieces[i].end - pieces[i].begin);
  }
  experts::cuda::copy(queries_.data(), static_cast<const DeviceQuery*>(host_queries_.data()), rows, stream);
  experts::cuda::copy(counts_.data(), static_cast<const std::int32_t*>(host_counts_.data()), std::ssize(pieces), stream);
  if (num_apart_ > 0) {
    experts::cuda::copy(apart_.data(), static_cast<const std::int32_t*>(host_apart_.data()), num_apart_, stream);
  }
}

void DeviceHead::reduce(Inputs rows, const Piece& piece, std::int64_t index, cudaStream_t stream) {
  const Count count{counts_.data() + index, comm::size_class(piece.end - piece.begin)};
  for (std::int64_t first = 0; first < config_.vocab_size; first += kTokensAtOnce) {
    const std::int64_t tokens = std::min(kTokensAtOnce, config_.vocab_size - first);
    dense_.multiply({.x = from(rows, piece.begin), .w = weights_.head.data() + first * config_.hidden, .rows = count, .n = tokens,
                     .k = config_.hidden, .store = experts::cuda::DenseProblem::Store::kWrite, .y = logits_.data(), .y_stride = tokens},
                    stream);
    experts::cuda::summarise_tiles({.logits = logits_.data(), .logits_stride = tokens, .rows = count, .first = first, .count = tokens,
                                    .queries = queries_.data() + piece.begin, .apart = apart_.data(), .tiles = tiles_.data(),
                                    .summaries = summaries_.data() + piece.begin, .apart_logits = apart_logits_.data()},
                                   stream);
    if (piece.has_expectation) {
      experts::cuda::add_expectation({.logits = logits_.data(), .logits_stride = tokens, .rows = count, .first = first, .count = tokens,
                                      .embedding = weights_.embedding.data(), .hidden = config_.hidden,
                                      .tops = tops_.data() + piece.begin, .totals = totals_.data() + piece.begin,
                                      .sums = sums_.data() + piece.begin * config_.hidden, .workspace = mixing_.data()},
                                     stream);
    }
  }
}

std::vector<RowSummary> DeviceHead::summarise(Inputs rows, std::span<const HeadQuery> queries, comm::DeviceLinks& links, cudaStream_t stream) {
  const auto pieces = cut(queries);
  const std::int64_t room = comm::size_class(std::ssize(queries));
  logits_.grow(std::min(kRowsAtOnce, room) * std::min(kTokensAtOnce, config_.vocab_size));
  tiles_.grow(std::min(kRowsAtOnce, room) * experts::whole(std::min(kTokensAtOnce, config_.vocab_size), experts::cuda::kHeadTile));
  summaries_.grow(room);
  if (std::ranges::any_of(pieces, &Piece::has_expectation)) {
    tops_.grow(room);
    totals_.grow(room);
    sums_.grow(room * config_.hidden);
    mixing_.grow(experts::cuda::expectation_workspace(std::min(kRowsAtOnce, room), std::min(kTokensAtOnce, config_.vocab_size), config_.hidden));
  }
  send_queries(queries, pieces, stream);
  apart_logits_.grow(num_apart_);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    reduce(rows, pieces[i], static_cast<std::int64_t>(i), stream);
  }
  fetch(std::ssize(queries), pieces, stream);
  links.wait(stream);
  return read(queries);
}

void DeviceHead::fetch(std::int64_t num_rows, const std::vector<Piece>& pieces, cudaStream_t stream) {
  host_summaries_.grow(num_rows);
  experts::cuda::copy(host_summaries_.data(), static_cast<const DeviceSummary*>(summaries_.data()), num_rows, stream);
  if (num_apart_ > 0) {
    host_apart_logits_.grow(num_apart_);
    experts::cuda::copy(host_apart_logits_.data(), static_cast<const float*>(apart_logits_.data()), num_apart_, stream);
  }
  if (std::ranges::any_of(pieces, &Piece::has_expectation)) {
    host_totals_.grow(num_rows);
    host_sums_.grow(num_rows * config_.hidden);
    experts::cuda::copy(host_totals_.data(), static_cast<const float*>(totals_.data()), num_rows, stream);
    experts::cuda::copy(host_sums_.data(), static_cast<const float*>(sums_.data()), num_rows * config_.hidden, stream);
  }
}

std::vector<RowSummary> DeviceHead::read(std::span<const HeadQuery> queries) const {
  std::vector<RowSummary> results(queries.size());
  for (std::size_t r = 0; r < queries.size(); ++r) {
    const DeviceSummary& found = host_summaries_.data()[r];
    const DeviceQuery& asked = host_queries_.data()[r];
    RowSummary& result = results[r];
    result.all = {.top = found.top, .top_token = found.top_token, .others = found.others, .best = found.best, .best_token = found.best_token,
                  .finite = found.finite != 0};
    result.apart_logits.assign(host_apart_logits_.data() + asked.apart_begin, host_apart_logits_.data() + asked.apart_end);
    if (queries[r].noise) {
      result.sample = {.token = found.sample_token, .logit = found.sample_logit, .noised = found.sample_noised};
    }
    if (queries[r].expectation != Expectation::kNone) {
      const float* sums = host_sums_.data() + static_cast<std::int64_t>(r) * config_.hidden;
      const float total = host_totals_.data()[r];
      std::transform(sums, sums + config_.hidden, std::back_inserter(result.expected), [&](float sum) { return sum / total; });
    }
  }
  return results;
}

std::vector<float> DeviceHead::logits(Inputs rows, std::int64_t count, comm::DeviceLinks& links, cudaStream_t stream) {
  std::vector<float> out(size(count * config_.vocab_size));
  logits_.grow(std::min(count, kRowsAtOnce) * config_.vocab_size);
  counts_.grow(1);
  host_counts_.grow(1);
  for (std::int64_t begin = 0; begin < count; begin += kRowsAtOnce) {
    const std::int64_t num = std::min(kRowsAtOnce, count - begin);
    host_counts_.data()[0] = word(num);
    experts::cuda::copy(counts_.data(), static_cast<const std::int32_t*>(host_counts_.data()), 1, stream);
    dense_.multiply({.x = from(rows, begin), .w = weights_.head.data(), .rows = {counts_.data(), num}, .n = config_.vocab_size,
                     .k = config_.hidden, .store = experts::cuda::DenseProblem::Store::kWrite, .y = logits_.data(),
                     .y_stride = config_.vocab_size},
                    stream);
    experts::cuda::copy(out.data() + begin * config_.vocab_size, static_cast<const float*>(logits_.data()), num * config_.vocab_size, stream);
    links.wait(stream);
  }
  return out;
}

}  // namespace unmask::runtime::cuda
