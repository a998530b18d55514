// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace unmask::cluster {

/// What of a machine lies near a device on its bus: below the same socket or NUMA node.
struct DevicePlace {
  std::vector<int> cores;             ///< each by its first hardware thread, in the machine's order
  std::vector<std::string> networks;  ///< interfaces and their verbs devices: "eth1", "mlx5_0"
};

/// Of this machine's device at this place, "0000:1b:00.0". Nothing where the machine does not know it.
std::optional<DevicePlace> find_device_place(const std::string& pci_place);

}  // namespace unmask::cluster
