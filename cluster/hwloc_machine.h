// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include <hwloc.h>

#include "base/unique_handle.h"
#include "cluster/device_place.h"

namespace unmask::cluster {

struct TopologyTraits {
  using Value = hwloc_topology_t;
  static Value empty() { return nullptr; }
  static void close(Value topology) noexcept { hwloc_topology_destroy(topology); }
};
struct BitmapTraits {
  using Value = hwloc_bitmap_t;
  static Value empty() { return nullptr; }
  static void close(Value bitmap) noexcept { hwloc_bitmap_free(bitmap); }
};
using Machine = UniqueHandle<TopologyTraits>;
using Bitmap = UniqueHandle<BitmapTraits>;

/// The whole machine, also the parts that a cpuset forbids to this process; empty where it cannot be read.
Machine load_machine();

/// With what is on its buses.
Machine load_machine_with_devices();
std::optional<DevicePlace> find_device_place(const Machine& machine, const std::string& pci_place);

/// Hardware threads that the calling thread may run on: its affinity, within the allowed set; empty where it cannot be read.
Bitmap allowed_units(const Machine& machine);

}  // namespace unmask::cluster
