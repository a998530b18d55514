// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/byte_stream.h"
#include "cluster/topology.h"
#include "launcher/run/network.h"
#include "runtime/input_file.h"
#include "runtime/strict_json.h"

namespace unmask::launcher {
namespace {

/// The names of the families that this processor can run for the precision, each between blanks.
std::string supported_names(experts::Precision precision) {
  std::string names = " ";
  for (const experts::KernelFamily* family : experts::kernel_families()) {
    names += family->serves(precision) && family->supported() ? std::string(family->name) + " " : "";
  }
  return names;
}

}  // namespace

cluster::Placement read_placement(const std::string& option, std::int64_t num_experts, std::int64_t num_ranks) {
  if (option == "even") {
    return cluster::Placement::even(num_experts, num_ranks);
  }
  constexpr std::uint64_t kMaxBytes = std::uint64_t{16} << 20;
  const auto list = runtime::parse_json_strictly(runtime::read_text_file(option, kMaxBytes), option, kMaxBytes);
  require(list.is_array() && std::cmp_equal(list.size(), num_experts), ExitCode::kUsage,
          "--placement {}: expected an array with the rank of each of the {} experts, found {}", option, num_experts,
          runtime::describe(list));
  std::vector<Rank> owner;
  for (const auto& rank : list) {
    require(rank.is_number_unsigned() && std::cmp_less(rank.get<std::uint64_t>(), num_ranks), ExitCode::kUsage,
            "--placement {}: expected ranks from 0 to {}, found {}", option, num_ranks - 1, runtime::describe(rank));
    owner.emplace_back(rank.get<std::int32_t>());
  }
  return cluster::Placement(std::move(owner), num_ranks);
}

const experts::KernelFamily& agree_on_kernels(const Job& job, experts::Precision precision) {
  const std::string wanted = job.options().text("kernel");
  const experts::KernelFamily* mine = nullptr;
  agreed(job.comm, [&] { mine = &experts::choose_kernel_family(wanted, precision); });
  if (wanted != "auto") {
    return *mine;
  }
  std::vector<std::string> names;
  for (const auto& bytes : job.comm.all_gather(ByteWriter().put(supported_names(precision)).take())) {
    names.push_back(ByteReader(bytes).get_text());
  }
  for (const experts::KernelFamily* family : experts::kernel_families()) {
    const std::string word = format(" {} ", family->name);
    const auto without = std::ranges::find_if(names, [&](const std::string& all) { return all.find(word) == std::string::npos; });
    if (without == names.end()) {
      job.log.debug("kernels: {}", family->name);
      return *family;
    }
    if (names[job.comm.rank().at()].find(word) != std::string::npos) {
      job.log.info("kernels {} are left out: rank {} cannot run them", family->name, without - names.begin());
    }
  }
  UNMASK_CHECK(false, "no kernel family runs everywhere, not even {}", mine->name);
}

int agree_on_threads(const Job& job) {
  const cluster::Topology machine = cluster::read_topology();
  job.log.debug("machine: {}", machine.describe());
  std::int64_t sharing = 0;
  for (const auto& bytes : job.comm.all_gather(ByteWriter().put(job.comm.host()).put(machine.binding_hash).take())) {
    ByteReader reader(bytes);
    const bool same_host = reader.get_text() == job.comm.host();
    sharing += same_host && reader.get<std::uint64_t>() == machine.binding_hash ? 1 : 0;
  }
  return job.options().given("threads") ? narrow<int>(job.options().integer("threads"))
                                        : cluster::default_threads(machine, sharing, job.comm.num_ranks_on_host());
}

comm::ExchangeOptions exchange_options(const OptionValues& options, std::int64_t hidden, comm::WireType wire) {
  return {.hidden = hidden, .wire = wire,
          .combine = options.text("combine") == "fast" ? comm::Combine::kFast : comm::Combine::kExact,
          .overlap = options.is_on("overlap") ? comm::Overlap::kOn : comm::Overlap::kOff};
}

}  // namespace unmask::launcher
