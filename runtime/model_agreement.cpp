// SPDX-License-Identifier: Apache-2.0
// What ranks find out together before they load.
#include <algorithm>

#include "base/byte_stream.h"
#include "cluster/topology.h"
#include "runtime/model.h"

namespace unmask::runtime {
namespace {

/// The names of the families that "auto" may take on this processor, each between blanks.
std::string names_for_auto(experts::Precision precision) {
  std::string names = " ";
  for (const experts::KernelFamily* family : experts::kernel_families()) {
    names += is_for_auto(*family, precision) ? std::string(family->name) + " " : "";
  }
  return names;
}

}  // namespace

const experts::KernelFamily& agree_on_kernels(comm::Communicator& comm, const std::string& wanted, experts::Precision precision,
                                              const Logger* log) {
  const experts::KernelFamily* mine = nullptr;
  comm::run_together(comm, [&] { mine = &experts::choose_kernel_family(wanted, precision); });
  if (wanted != "auto") {
    return *mine;
  }
  std::vector<std::string> names;
  for (const auto& bytes : comm.all_gather(ByteWriter().put(names_for_auto(precision)).take())) {
    names.push_back(ByteReader(bytes).get_text());
  }
  for (const experts::KernelFamily* family : experts::kernel_families()) {
    const std::string word = format(" {} ", family->name);
    const auto without = std::ranges::find_if(names, [&](const std::string& all) { return all.find(word) == std::string::npos; });
    if (without == names.end()) {
      if (log != nullptr) {
        log->debug("kernels: {}", family->name);
      }
      return *family;
    }
    if (log != nullptr && names[comm.rank().at()].find(word) != std::string::npos) {
      log->info("kernels {} are left out: rank {} cannot run them, or only slowly", family->name, without - names.begin());
    }
  }
  UNMASK_CHECK(false, "no kernel family runs everywhere, not even {}", mine->name);
}

int share_of_cores(comm::Communicator& comm, const Logger* log) {
  const cluster::Topology machine = cluster::read_topology();
  if (log != nullptr) {
    log->debug("machine: {}", machine.describe());
  }
  std::int64_t sharing = 0;
  for (const auto& bytes : comm.all_gather(ByteWriter().put(comm.host()).put(machine.binding_hash).take())) {
    ByteReader reader(bytes);
    const bool same_host = reader.get_text() == comm.host();
    sharing += same_host && reader.get<std::uint64_t>() == machine.binding_hash ? 1 : 0;
  }
  return cluster::default_threads(machine, sharing, comm.num_ranks_on_host());
}

namespace {

/// The wishes of this host's ranks, and which of them is this one's.
struct Host {
  std::vector<cluster::PinWish> wishes;
  std::vector<std::int64_t> ranks;
  std::size_t mine = 0;
  double quota_cores = 0;
};

Host gather_host(comm::Communicator& comm, std::int64_t num_threads, double quota_cores, std::span<const int> near) {
  Host host;
  host.quota_cores = quota_cores;
  std::vector<int> cores = cluster::cores_of_binding();
  const auto is_near = [&](int core) { return std::ranges::find(near, core) != near.end(); };
  if (std::ranges::count_if(cores, is_near) >= num_threads) {
    std::erase_if(cores, [&](int core) { return !is_near(core); });
  }
  std::int64_t rank = 0;
  for (const auto& bytes : comm.all_gather(ByteWriter().put(comm.host()).put(num_threads).put(cores).take())) {
    ByteReader reader(bytes);
    if (reader.get_text() == comm.host()) {
      host.mine = rank == comm.rank().value ? host.wishes.size() : host.mine;
      const auto threads = reader.get<std::int64_t>();
      host.wishes.push_back({.cores = reader.get_list<int>(), .num_threads = threads});
      host.ranks.push_back(rank);
    }
    ++rank;
  }
  return host;
}

void log_pins(const Logger* log, const Host& host, const cluster::PinPlan& plan) {
  if (log == nullptr) {
    return;
  }
  if (plan.cores.empty()) {
    log->debug("threads are not pinned: {}", plan.why_not);
    return;
  }
  std::string map;
  for (std::size_t i = 0; i < host.ranks.size(); ++i) {
    map += format("{}rank {}: {}", map.empty() ? "" : "; ", host.ranks[i], cluster::list_cores(plan.cores[i]));
  }
  host.ranks.size() > 1 ? log->info("threads are pinned to cores: {}", map) : log->debug("threads are pinned to cores: {}", map);
}

}  // namespace

cluster::Pin pin_team(comm::Communicator& comm, ThreadTeam& team, const Logger* log, std::span<const int> near) {
  const cluster::Topology machine = cluster::read_topology();
  const Host host = gather_host(comm, team.size(), machine.quota_cores, near);
  const cluster::PinPlan plan = cluster::plan_pins(host.wishes, machine.num_cores, host.quota_cores);
  log_pins(log, host, plan);
  cluster::Pin own;
  if (!plan.cores.empty()) {
    const std::vector<int>& cores = plan.cores[host.mine];
    team.run([&](int member) {
      cluster::Pin pin(cores[static_cast<std::size_t>(member)]);
      if (member == 0) {
        own = std::move(pin);
      } else {
        pin.keep();
      }
    });
  }
  return own;
}

}  // namespace unmask::runtime
