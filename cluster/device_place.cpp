// SPDX-License-Identifier: Apache-2.0
#include "cluster/device_place.h"

#include <utility>

#include "cluster/hwloc_machine.h"

namespace unmask::cluster {
namespace {

bool is_network(hwloc_obj_t device) {
  return device->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK || device->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS;
}

}  // namespace

Machine load_machine_with_devices() {
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) {
    return {};
  }
  Machine machine(topology);
  hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
  hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
  for (const char* const runtime : {"opencl", "cuda", "nvml", "rsmi", "levelzero", "gl"}) {  // buses are enough: these would start up devices
    hwloc_topology_set_components(topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, runtime);
  }
  return hwloc_topology_load(topology) == 0 ? std::move(machine) : Machine();
}

std::optional<DevicePlace> find_device_place(const Machine& machine, const std::string& pci_place) {
  hwloc_topology_t const topology = machine.get();
  if (!machine) {
    return std::nullopt;
  }
  hwloc_obj_t const device = hwloc_get_pcidev_by_busidstring(topology, pci_place.c_str());
  if (device == nullptr) {
    return std::nullopt;
  }
  hwloc_obj_t const near = hwloc_get_non_io_ancestor_obj(topology, device);
  DevicePlace place;
  for (hwloc_obj_t core = nullptr; (core = hwloc_get_next_obj_inside_cpuset_by_type(topology, near->cpuset, HWLOC_OBJ_CORE, core)) != nullptr;) {
    place.cores.push_back(hwloc_bitmap_first(core->cpuset));
  }
  for (hwloc_obj_t os = nullptr; (os = hwloc_get_next_osdev(topology, os)) != nullptr;) {
    if (is_network(os) && hwloc_bitmap_isincluded(hwloc_get_non_io_ancestor_obj(topology, os)->cpuset, near->cpuset) != 0) {
      place.networks.emplace_back(os->name);
    }
  }
  return place;
}

std::optional<DevicePlace> find_device_place(const std::string& pci_place) { return find_device_place(load_machine_with_devices(), pci_place); }

}  // namespace unmask::cluster
