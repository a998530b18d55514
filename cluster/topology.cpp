// SPDX-License-Identifier: Apache-2.0
#include "cluster/topology.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>

#include "base/format.h"
#include "cluster/hwloc_machine.h"

namespace unmask::cluster {
namespace {

std::int64_t count(const Machine& machine, hwloc_obj_type_t type) {
  return std::max(1, hwloc_get_nbobjs_by_type(machine.get(), type));
}

std::int64_t cache_bytes(const Machine& machine, hwloc_obj_type_t type) {
  const hwloc_obj_t cache = hwloc_get_obj_by_type(machine.get(), type, 0);
  return cache != nullptr && cache->attr != nullptr ? static_cast<std::int64_t>(cache->attr->cache.size) : 0;
}

std::string cpu_model(const Machine& machine) {
  for (const hwloc_obj_t object : {hwloc_get_obj_by_type(machine.get(), HWLOC_OBJ_PACKAGE, 0), hwloc_get_root_obj(machine.get())}) {
    const char* model = object != nullptr ? hwloc_obj_get_info_by_name(object, "CPUModel") : nullptr;
    if (model != nullptr && *model != '\0') {
      return model;
    }
  }
  return "unknown";
}

/// What the calling thread may run on: its affinity, within the allowed set.
void read_binding(const Machine& machine, Topology& topology) {
  const Bitmap binding = allowed_units(machine);
  if (!binding) {
    topology.num_allowed_units = topology.num_processing_units;
    topology.num_allowed_cores = topology.num_cores;
    return;
  }
  topology.num_allowed_units = std::max(1, hwloc_bitmap_weight(binding.get()));
  std::int64_t cores = 0;
  for (hwloc_obj_t core = nullptr; (core = hwloc_get_next_obj_by_type(machine.get(), HWLOC_OBJ_CORE, core)) != nullptr;) {
    cores += hwloc_bitmap_intersects(core->cpuset, binding.get()) != 0 ? 1 : 0;
  }
  topology.num_allowed_cores = cores > 0 ? cores : topology.num_allowed_units;  // some virtual machines show no cores
  char* text = nullptr;
  if (hwloc_bitmap_asprintf(&text, binding.get()) >= 0) {
    const std::unique_ptr<char, decltype(&std::free)> owned(text, &std::free);
    topology.binding_hash = std::hash<std::string>()(text);
  }
}

/// "0::/path" of /proc/self/cgroup: this process's group in the unified hierarchy.
std::string own_cgroup() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("0::")) {
      return line.substr(3);
    }
  }
  return "/";
}

std::string amount(std::int64_t bytes) {
  return bytes >= std::int64_t{1} << 30   ? format("{:.1f} GiB", std::ldexp(static_cast<double>(bytes), -30))
         : bytes >= std::int64_t{1} << 20 ? format("{:.3g} MiB", std::ldexp(static_cast<double>(bytes), -20))
                                          : format("{:.3g} KiB", std::ldexp(static_cast<double>(bytes), -10));
}

}  // namespace

double cgroup_quota_cores(const std::string& root, const std::string& group) {
  double least = 0;
  for (std::string path = group;; path.erase(path.rfind('/'))) {
    std::ifstream file(root + path + "/cpu.max");  // "max 100000" or "200000 100000": microseconds per period
    double quota_us = 0;
    double period_us = 0;
    if (file >> quota_us >> period_us && quota_us > 0 && period_us > 0) {
      least = least == 0 ? quota_us / period_us : std::min(least, quota_us / period_us);
    }
    if (path.rfind('/') == std::string::npos) {
      return least;
    }
  }
}

Topology read_topology() {
  Topology topology;
  topology.cpu_model = "unknown";
  if (const Machine machine = load_machine()) {
    topology.cpu_model = cpu_model(machine);
    topology.num_sockets = count(machine, HWLOC_OBJ_PACKAGE);
    topology.num_numa_nodes = count(machine, HWLOC_OBJ_NUMANODE);
    topology.num_cores = count(machine, HWLOC_OBJ_CORE);
    topology.num_processing_units = count(machine, HWLOC_OBJ_PU);
    topology.l1d_bytes = cache_bytes(machine, HWLOC_OBJ_L1CACHE);
    topology.l2_bytes = cache_bytes(machine, HWLOC_OBJ_L2CACHE);
    topology.l3_bytes = cache_bytes(machine, HWLOC_OBJ_L3CACHE);
    read_binding(machine, topology);
  }
  // Not hwloc's sum over NUMA nodes: on a virtual machine with memory added later, that showed 13 GiB of 24.
  topology.memory_bytes = std::max<std::int64_t>(0, sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  topology.quota_cores = cgroup_quota_cores("/sys/fs/cgroup", own_cgroup());
  return topology;
}

std::string Topology::describe() const {
  std::string text = format("{}: {} socket{}, {} NUMA node{}, {} cores, {} hardware threads, {} memory", cpu_model, num_sockets,
                            num_sockets == 1 ? "" : "s", num_numa_nodes, num_numa_nodes == 1 ? "" : "s", num_cores,
                            num_processing_units, amount(memory_bytes));
  text += format("; caches L1d {}, L2 {}, L3 {}", amount(l1d_bytes), amount(l2_bytes), amount(l3_bytes));
  text += format("; this process may use {} cores ({} hardware threads)", num_allowed_cores, num_allowed_units);
  if (quota_cores > 0) {
    text += format(", processor time of {:.3g}", quota_cores);
  }
  return text;
}

int default_threads(const Topology& topology, std::int64_t ranks_sharing_binding, std::int64_t ranks_on_host) {
  const auto share = [](double cores, std::int64_t ranks) { return cores / static_cast<double>(std::max<std::int64_t>(1, ranks)); };
  double cores = share(static_cast<double>(topology.num_allowed_cores), ranks_sharing_binding);
  if (topology.quota_cores > 0) {
    cores = std::min(cores, share(topology.quota_cores, ranks_on_host));  // the quota is the host's, whatever the bindings
  }
  return std::max(1, static_cast<int>(std::floor(cores)));
}

}  // namespace unmask::cluster
