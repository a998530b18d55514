// SPDX-License-Identifier: Apache-2.0
#include "launcher/bench/load_roofline.h"

#include <algorithm>
#include <functional>

#include "base/byte_stream.h"
#include "bench/machine_limits.h"
#include "bench/record.h"
#include "experts/quantised.h"

namespace unmask::launcher {
namespace {

constexpr std::size_t kBytes = std::size_t{1} << 30, kLeastBytes = std::size_t{256} << 20;  ///< together larger than any cache
constexpr std::size_t kPiece = std::size_t{4} << 20;
constexpr std::size_t kStepsAtOnce = 256;  ///< that travel in one message
constexpr int kRepeats = 5;

bench::MachineRates measure(const Job& job, Network& network) {
  const std::vector<std::byte> memory(std::max(kLeastBytes, kBytes / static_cast<std::size_t>(job.comm.num_ranks())), std::byte{1});
  std::vector<std::span<const std::byte>> pieces;
  for (std::size_t at = 0; at < memory.size(); at += kPiece) {
    pieces.push_back(std::span(memory).subspan(at, std::min(kPiece, memory.size() - at)));
  }
  std::vector<double> flops, read;
  for (int i = 0; i < kRepeats; ++i) {
    job.comm.barrier();
    read.push_back(bench::read_bytes_per_second(network.team(), pieces));
    job.comm.barrier();
    flops.push_back(bench::peak_flops(network.team(), network.kernels()));
  }
  return {.flops = bench::quantile(flops, 0.5), .bytes_per_second = bench::quantile(read, 0.5)};
}

double bytes_of_an_expert(const Network& network) {
  const auto& config = network.config();
  const auto in = experts::stored_bytes(network.expert_type(), config.expert_width, config.hidden);
  return static_cast<double>(2 * in + experts::stored_bytes(network.expert_type(), config.hidden, config.expert_width));
}

}  // namespace

LoadRoofline::LoadRoofline(const Job& job, Network& network) : job_(job), network_(network), mine_(measure(job, network)) {
  for (const auto& bytes : job.comm.all_gather(ByteWriter().put(mine_.flops).put(mine_.bytes_per_second).take())) {
    ByteReader reader(bytes);
    all_.flops += reader.get<double>();
    all_.bytes_per_second += reader.get<double>();
  }
}

std::vector<bench::PassRoofline> LoadRoofline::of_my_part(const StepCounts& steps) const {
  const auto& config = network_.config();
  const std::size_t each = size(config.num_layers * config.num_experts), num_steps = steps.counts_.size() / each;
  std::vector<bench::PassRoofline> out;
  for (std::size_t first = 0; first < num_steps; first += kStepsAtOnce) {
    const std::size_t count = std::min(kStepsAtOnce, num_steps - first) * each;
    const auto part = std::span(steps.counts_).subspan(first * each, count);
    std::vector<std::int64_t> all(count);
    for (const auto& bytes : job_.comm.all_gather(ByteWriter().put(std::vector<std::int32_t>(part.begin(), part.end())).take())) {
      const auto of_rank = ByteReader(bytes).get_list<std::int32_t>();
      UNMASK_CHECK(of_rank.size() == count, "{} counts of a rank, {} here", of_rank.size(), count);
      std::ranges::transform(all, of_rank, all.begin(), std::plus());
    }
    for (std::size_t at = 0; at < count; at += each) {
      std::vector<std::int64_t> computed(each);
      for (const ExpertId expert : network_.placement().held_by(job_.comm.rank())) {
        for (std::size_t i = expert.at(); i < each; i += size(config.num_experts)) {
          computed[i] = all[at + i];
        }
      }
      const std::vector<std::int64_t> chosen(part.begin() + static_cast<std::ptrdiff_t>(at), part.begin() + static_cast<std::ptrdiff_t>(at + each));
      out.push_back(bench::pass_roofline(config, bytes_of_an_expert(network_), {chosen, computed}, mine_));
    }
  }
  return out;
}

bench::PassRoofline LoadRoofline::of(const StepCounts& steps) const {
  ByteWriter mine;
  for (const bench::PassRoofline& pass : of_my_part(steps)) {
    mine.put(pass.compute_seconds).put(pass.read_seconds);
  }
  std::vector<bench::PassRoofline> slowest(steps.counts_.size() / size(network_.config().num_layers * network_.config().num_experts));
  for (const auto& bytes : job_.comm.all_gather(mine.take())) {
    ByteReader reader(bytes);
    for (bench::PassRoofline& most : slowest) {
      bench::PassRoofline pass;
      pass.compute_seconds = reader.get<double>();
      pass.read_seconds = reader.get<double>();
      most = pass.seconds() > most.seconds() ? pass : most;
    }
  }
  bench::PassRoofline sum;
  for (const bench::PassRoofline& pass : slowest) {
    sum.compute_seconds += pass.compute_seconds;
    sum.read_seconds += pass.read_seconds;
  }
  return sum;
}

}  // namespace unmask::launcher
