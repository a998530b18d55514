// SPDX-License-Identifier: Apache-2.0
#include "launcher/generate/exchange_report.h"

#include <algorithm>

#include "base/byte_stream.h"

namespace unmask::launcher {

ExchangeReport report_exchange(const Job& job, Network& network) {
  const auto mine = network.transformer().exchange_statistics();
  ByteWriter writer;
  writer.put(mine.wire_bytes).put(mine.minimum_bytes).put(mine.naive_bytes).put(mine.num_pairs).put(mine.busiest_pairs);
  writer.put(mine.experts_seconds).put(mine.wait_seconds).put(mine.alone_seconds);
  ExchangeReport report;
  double pairs = 0, most_pairs = 0, busiest_pairs = 0, experts = 0, waited = 0, alone = 0;
  for (const auto& bytes : job.comm.all_gather(writer.take())) {
    ByteReader reader(bytes);
    report.wire_bytes += reader.get<std::uint64_t>();
    report.minimum_bytes += reader.get<std::uint64_t>();
    report.naive_bytes += reader.get<std::uint64_t>();
    const auto own_pairs = static_cast<double>(reader.get<std::int64_t>());
    pairs += own_pairs;
    most_pairs = std::max(most_pairs, own_pairs);
    busiest_pairs = std::max(busiest_pairs, static_cast<double>(reader.get<std::int64_t>()));
    experts = std::max(experts, reader.get<double>());
    waited = std::max(waited, reader.get<double>());
    alone = std::max(alone, reader.get<double>());
  }
  const double steps = std::max(static_cast<double>(mine.num_layers) / static_cast<double>(network.config().num_layers), 1.0);
  report.experts_ms_per_step = 1e3 * experts / steps;
  report.exposed_ms_per_step = 1e3 * waited / steps;
  report.hidden_fraction = alone > 0 ? std::clamp(1 - waited / alone, 0.0, 1.0) : 0;
  if (pairs > 0) {
    report.rank_imbalance = most_pairs * static_cast<double>(job.comm.num_ranks()) / pairs;
    report.expert_imbalance = busiest_pairs * static_cast<double>(network.config().num_experts) / pairs;
  }
  return report;
}

std::string describe(const ExchangeReport& r) {
  if (r.naive_bytes == 0) {
    return {};
  }
  return format("exchange: {:.1f} MB ({:.0f} % of a row out and back per token and expert), per step {:.2f} ms experts, {:.2f} ms "
                "waiting, {:.0f} % hidden; rows of the busiest rank {:.2f} times the mean, of the busiest expert {:.2f}",
                1e-6 * static_cast<double>(r.wire_bytes), 100 * static_cast<double>(r.wire_bytes) / static_cast<double>(r.naive_bytes),
                r.experts_ms_per_step, r.exposed_ms_per_step, 100 * r.hidden_fraction, r.rank_imbalance, r.expert_imbalance);
}

}  // namespace unmask::launcher
