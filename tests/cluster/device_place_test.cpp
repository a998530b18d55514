// SPDX-License-Identifier: Apache-2.0
#include "cluster/hwloc_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace unmask::cluster {
namespace {

/// Two sockets of two cores; below each a GPU and an InfiniBand card, below the first also a plain interface.
constexpr char kTwoSockets[] = R"(<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE topology SYSTEM "hwloc2.dtd">
<topology version="2.0">
 <object type="Machine" os_index="0" cpuset="0x0000000f" complete_cpuset="0x0000000f" allowed_cpuset="0x0000000f" nodeset="0x00000003" complete_nodeset="0x00000003" allowed_nodeset="0x00000003" gp_index="1">
  <object type="Package" os_index="0" cpuset="0x00000003" complete_cpuset="0x00000003" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="2">
   <object type="NUMANode" os_index="0" cpuset="0x00000003" complete_cpuset="0x00000003" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="3" local_memory="1073741824"/>
   <object type="Core" os_index="0" cpuset="0x00000001" complete_cpuset="0x00000001" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="4">
    <object type="PU" os_index="0" cpuset="0x00000001" complete_cpuset="0x00000001" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="5"/>
   </object>
   <object type="Core" os_index="1" cpuset="0x00000002" complete_cpuset="0x00000002" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="6">
    <object type="PU" os_index="1" cpuset="0x00000002" complete_cpuset="0x00000002" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="7"/>
   </object>
   <object type="Bridge" gp_index="20" bridge_type="0-1" depth="0" bridge_pci="0000:[10-1f]">
    <object type="PCIDev" gp_index="21" pci_busid="0000:1b:00.0" pci_type="0302 [10de:2335] [10de:18be] a1" pci_link_speed="0.000000"/>
    <object type="PCIDev" gp_index="22" pci_busid="0000:1c:00.0" pci_type="0207 [15b3:1021] [15b3:0041] 00" pci_link_speed="0.000000">
     <object type="OSDev" gp_index="23" name="mlx5_0" osdev_type="3"/>
    </object>
    <object type="PCIDev" gp_index="24" pci_busid="0000:1d:00.0" pci_type="0200 [8086:1592] [8086:0001] 02" pci_link_speed="0.000000">
     <object type="OSDev" gp_index="25" name="eth0" osdev_type="2"/>
    </object>
   </object>
  </object>
  <object type="Package" os_index="1" cpuset="0x0000000c" complete_cpuset="0x0000000c" nodeset="0x00000002" complete_nodeset="0x00000002" gp_index="8">
   <object type="NUMANode" os_index="1" cpuset="0x0000000c" complete_cpuset="0x0000000c" nodeset="0x00000002" complete_nodeset="0x00000002" gp_index="9" local_memory="1073741824"/>
   <object type="Core" os_index="2" cpuset="0x00000004" complete_cpuset="0x00000004" nodeset="0x00000002" complete_nodeset="0x00000002" gp_index="10">
    <object type="PU" os_index="2" cpuset="0x00000004" complete_cpuset="0x00000004" nodeset="0x00000002" complete_nodeset="0x00000002" gp_index="11"/>
   </object>
   <object type="Core" os_index="3" cpuset="0x00000008" complete_cpuset="0x00000008" nodeset="0x00000002" complete_nodeset="0x00000002" gp_index="12">
    <object type="PU" os_index="3" cpuset="0x00000008" complete_cpuset="0x00000008" nodeset="0x00000002" complete_nodeset="0x00000002" gp_index="13"/>
   </object>
   <object type="Bridge" gp_index="30" bridge_type="0-1" depth="0" bridge_pci="0000:[80-8f]">
    <object type="PCIDev" gp_index="31" pci_busid="0000:8b:00.0" pci_type="0302 [10de:2335] [10de:18be] a1" pci_link_speed="0.000000"/>
    <object type="PCIDev" gp_index="32" pci_busid="0000:8c:00.0" pci_type="0207 [15b3:1021] [15b3:0041] 00" pci_link_speed="0.000000">
     <object type="OSDev" gp_index="33" name="mlx5_1" osdev_type="3"/>
    </object>
   </object>
  </object>
 </object>
</topology>
)";

Machine two_sockets() {
  hwloc_topology_t topology = nullptr;
  EXPECT_EQ(hwloc_topology_init(&topology), 0);
  Machine machine(topology);
  EXPECT_EQ(hwloc_topology_set_xmlbuffer(topology, kTwoSockets, static_cast<int>(sizeof kTwoSockets)), 0);
  hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_ALL);
  EXPECT_EQ(hwloc_topology_load(topology), 0);
  return machine;
}

TEST(DevicePlace, IsTheDevicesSocket) {
  const Machine machine = two_sockets();
  const auto first = find_device_place(machine, "0000:1b:00.0");
  ASSERT_TRUE(first.has_value());
  EXPECT_THAT(first->cores, testing::ElementsAre(0, 1));
  EXPECT_THAT(first->networks, testing::ElementsAre("mlx5_0", "eth0"));
  const auto second = find_device_place(machine, "0000:8b:00.0");
  ASSERT_TRUE(second.has_value());
  EXPECT_THAT(second->cores, testing::ElementsAre(2, 3));
  EXPECT_THAT(second->networks, testing::ElementsAre("mlx5_1"));
}

TEST(DevicePlace, IsUnknownWhereNobodyKnowsTheDevice) {
  EXPECT_FALSE(find_device_place(two_sockets(), "0000:ff:00.0").has_value());
  EXPECT_FALSE(find_device_place(two_sockets(), "not a place").has_value());
  EXPECT_FALSE(find_device_place(Machine(), "0000:1b:00.0").has_value());
}

}  // namespace
}  // namespace unmask::cluster
