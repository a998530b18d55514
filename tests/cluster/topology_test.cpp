// SPDX-License-Identifier: Apache-2.0
#include "cluster/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace unmask::cluster {
namespace {

using testing::HasSubstr;

TEST(Topology, AgreesWithTheKernel) {
  const auto topology = read_topology();
  EXPECT_EQ(topology.num_allowed_units, std::int64_t{std::thread::hardware_concurrency()});
  EXPECT_GE(topology.num_processing_units, topology.num_allowed_units);
  EXPECT_GE(topology.num_processing_units, topology.num_cores);
  EXPECT_LE(topology.num_allowed_cores, topology.num_allowed_units);
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  std::int64_t total_kib = 0;
  meminfo >> key >> total_kib;
  EXPECT_EQ(key, "MemTotal:");
  EXPECT_EQ(topology.memory_bytes, total_kib * 1024);
  EXPECT_THAT(topology.describe(), HasSubstr(topology.cpu_model));
}

TEST(Topology, HonoursTheInheritedBinding) {
  const auto before = read_topology();
  std::thread([&] {  // a thread of its own, whose binding ends with it
    cpu_set_t all;
    ASSERT_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &all)) {
        CPU_SET(cpu, &one);
        break;
      }
    }
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    const auto bound = read_topology();
    EXPECT_EQ(bound.num_allowed_units, 1);
    EXPECT_EQ(bound.num_allowed_cores, 1);
    EXPECT_EQ(bound.num_cores, before.num_cores) << "the machine stays what it is";
    EXPECT_EQ(bound.binding_hash == before.binding_hash, before.num_allowed_units == 1);
  }).join();
}

TEST(DefaultThreads, DividesCoresAmongThoseWhoShareThem) {
  Topology topology;
  topology.num_allowed_cores = 16;
  EXPECT_EQ(default_threads(topology, 1, 1), 16);
  EXPECT_EQ(default_threads(topology, 4, 4), 4);
  EXPECT_EQ(default_threads(topology, 3, 3), 5);
  EXPECT_EQ(default_threads(topology, 1, 4), 16) << "bound to 16 cores of its own";
  EXPECT_EQ(default_threads(topology, 40, 40), 1);
}

TEST(DefaultThreads, StaysWithinTheQuotaOfTheHost) {
  Topology topology;
  topology.num_allowed_cores = 16;
  topology.quota_cores = 6;
  EXPECT_EQ(default_threads(topology, 1, 1), 6);
  EXPECT_EQ(default_threads(topology, 1, 4), 1);
  topology.quota_cores = 0.5;
  EXPECT_EQ(default_threads(topology, 1, 1), 1);
}

TEST(CgroupQuota, TakesTheSmallestOnTheWayUp) {
  const auto root = std::filesystem::path(testing::TempDir()) / ("cgroup_" + std::to_string(getpid()));
  std::filesystem::create_directories(root / "job" / "step");
  std::filesystem::create_directories(root / "free");
  std::ofstream(root / "job" / "cpu.max") << "250000 100000\n";
  std::ofstream(root / "job" / "step" / "cpu.max") << "max 100000\n";
  std::ofstream(root / "free" / "cpu.max") << "max 100000\n";
  EXPECT_EQ(cgroup_quota_cores(root, "/job/step"), 2.5);
  EXPECT_EQ(cgroup_quota_cores(root, "/free"), 0);
  EXPECT_EQ(cgroup_quota_cores(root, "/"), 0);
  EXPECT_EQ(cgroup_quota_cores(root, "/not/there"), 0);
  std::ofstream(root / "cpu.max") << "100000 100000\n";
  EXPECT_EQ(cgroup_quota_cores(root, "/job/step"), 1);
  EXPECT_EQ(cgroup_quota_cores(root, "/"), 1);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace unmask::cluster
