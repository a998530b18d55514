// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "base/byte_stream.h"
#include "bench/machine_limits.h"
#include "launcher/bench/bench_table.h"
#include "launcher/run/network.h"

namespace unmask::launcher {
namespace {

constexpr std::size_t kBytes = std::size_t{1} << 30;  ///< of each rank, larger than its share of any cache
constexpr std::size_t kPieces = 256;

/// One rank's rates, by repetition.
struct Rates {
  std::vector<double> read, flops;
};

Rates measure(const Job& job, ThreadTeam& team, const experts::KernelFamily& kernels) {
  const std::vector<std::byte> memory(kBytes, std::byte{1});
  std::vector<std::span<const std::byte>> pieces;
  for (std::size_t i = 0; i < kPieces; ++i) {
    pieces.push_back(std::span(memory).subspan(i * (kBytes / kPieces), kBytes / kPieces));
  }
  Rates out;
  for (std::int64_t i = 0; i < job.options().integer("repeat"); ++i) {
    job.comm.barrier();  // ranks of a host share its memory: they read at the same time
    out.read.push_back(bench::read_bytes_per_second(team, pieces));
    job.comm.barrier();
    out.flops.push_back(bench::peak_flops(team, kernels));
  }
  return out;
}

/// By repetition, summed over the ranks.
std::vector<double> summed(comm::Communicator& comm, const std::vector<double>& mine) {
  ByteWriter writer;
  for (const double value : mine) {
    writer.put(value);
  }
  std::vector<double> sums(mine.size());
  for (const auto& bytes : comm.all_gather(writer.take())) {
    ByteReader reader(bytes);
    for (double& sum : sums) {
      sum += reader.get<double>();
    }
  }
  return sums;
}

bench::Record record_of(std::string_view what, std::string_view unit, std::vector<double> rates, double scale) {
  bench::Record out{.bench = "limits", .parameters = {{"what", std::string(what)}}};
  const auto at = [&](double part) { return bench::quantile(rates, part) * scale; };
  out.results = {{"unit", std::string(unit)}, {"median", at(0.5)}, {"p10", at(0.1)}, {"p90", at(0.9)},
                 {"repeats", std::ssize(rates)}};
  return out;
}

}  // namespace

BenchResult bench_limits(const Job& job) {
  const int num_threads = agree_on_threads(job);
  ThreadTeam team(num_threads);
  const cluster::Pin pin = pin_team(job, team);
  show_progress(job, team);
  const experts::KernelFamily& kernels = agree_on_kernels(job, experts::Precision::kBfloat16);
  const Rates mine = measure(job, team, kernels);
  BenchResult out{.records = {}, .threads = num_threads, .kernel = std::string(kernels.name)};
  out.records.push_back(record_of("memory read", "GB/s", summed(job.comm, mine.read), 1e-9));
  const std::string what = kernels.name == "amx" ? "AMX bf16" : format("products and sums, {}", kernels.name);
  out.records.push_back(record_of(what, "TFLOP/s", summed(job.comm, mine.flops), 1e-12));
  return out;
}

}  // namespace unmask::launcher
