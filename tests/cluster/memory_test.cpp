// SPDX-License-Identifier: Apache-2.0
#include "cluster/memory.h"

#include <stdlib.h>

#include <fstream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace unmask::cluster {
namespace {

namespace fs = std::filesystem;

/// A system made of files.
class System {
 public:
  System() {
    std::string pattern = (fs::temp_directory_path() / "unmask-memory-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) {
      throw std::runtime_error("no temporary folder");
    }
    root_ = pattern;
    write("proc/meminfo", "MemTotal:  2000 kB\nMemFree:  10 kB\nMemAvailable:   1000 kB\nBuffers: 3 kB\n");
  }
  ~System() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  System(const System&) = delete;
  System& operator=(const System&) = delete;

  void write(const fs::path& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  std::uint64_t available() const { return available_memory_bytes(root_); }

 private:
  fs::path root_;
};

TEST(AvailableMemory, IsTheMachinesWithoutControlGroups) {
  const System system;
  EXPECT_EQ(system.available(), 1000U * 1024);
}

TEST(AvailableMemory, ObeysTheTightestGroupOfV2) {
  const System system;
  system.write("proc/self/cgroup", "0::/job/step\n");
  system.write("sys/fs/cgroup/job/memory.max", "500000\n");
  system.write("sys/fs/cgroup/job/memory.current", "400000\n");
  system.write("sys/fs/cgroup/job/memory.stat", "anon 1\nfile 90000\ninactive_file 60000\n");
  system.write("sys/fs/cgroup/job/step/memory.max", "max\n");
  system.write("sys/fs/cgroup/job/step/memory.current", "300000\n");
  EXPECT_EQ(system.available(), 160000U);  // the cache is given back when needed
  system.write("sys/fs/cgroup/job/step/memory.max", "310000\n");
  EXPECT_EQ(system.available(), 10000U);
  system.write("sys/fs/cgroup/job/step/memory.max", "200000\n");  // already above a lowered limit
  EXPECT_EQ(system.available(), 0U);
}

TEST(AvailableMemory, ObeysAGroupOfV1SeenFromInsideAContainer) {
  const System system;
  system.write("proc/self/cgroup", "11:cpu,cpuacct:/host/path\n4:memory:/host/path\n0::/\n");
  system.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  system.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "5000\n");
  EXPECT_EQ(system.available(), 1000U * 1024);
  system.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "100000\n");
  system.write("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 4000\n");
  EXPECT_EQ(system.available(), 99000U);
}

TEST(Memory, OfThisProcessFollowsWhatItTouches) {
  const std::uint64_t available = available_memory_bytes();
  EXPECT_GT(available, std::uint64_t{1} << 20);
  const std::uint64_t proportional = proportional_memory_bytes();
  const std::uint64_t peak = peak_memory_bytes();
  EXPECT_GT(peak, 0U);
  EXPECT_LE(proportional, peak);
  constexpr std::size_t kBytes = 64 << 20;
  std::vector<unsigned char> touched(kBytes);
  std::iota(touched.begin(), touched.end(), static_cast<unsigned char>(1));
  EXPECT_GE(peak_memory_bytes(), peak + kBytes / 2);
  EXPECT_GE(proportional_memory_bytes(), proportional + kBytes / 2);
  EXPECT_NE(touched[kBytes / 3], 0) << "keeps the memory in use";
}

}  // namespace
}  // namespace unmask::cluster
