// SPDX-License-Identifier: Apache-2.0
#include "cluster/hwloc_machine.h"

#include <utility>

namespace unmask::cluster {

Machine load_machine() {
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) {
    return {};
  }
  Machine machine(topology);
  hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
  return hwloc_topology_load(topology) == 0 ? std::move(machine) : Machine();
}

Bitmap allowed_units(const Machine& machine) {
  Bitmap binding(hwloc_bitmap_alloc());
  if (!binding || hwloc_get_cpubind(machine.get(), binding.get(), HWLOC_CPUBIND_THREAD) != 0) {
    return {};
  }
  hwloc_bitmap_and(binding.get(), binding.get(), hwloc_topology_get_allowed_cpuset(machine.get()));
  return binding;
}

}  // namespace unmask::cluster
