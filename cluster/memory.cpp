// SPDX-License-Identifier: Apache-2.0
#include "cluster/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

namespace unmask::cluster {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

/// The number behind a name at the start of a line: "Name:   123 kB" or "name 123".
std::optional<std::uint64_t> find_number(const fs::path& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (std::uint64_t number = 0; line.starts_with(name) && std::istringstream(line.substr(name.size())) >> number) {
      return number;
    }
  }
  return std::nullopt;
}

std::uint64_t kilobytes(const fs::path& path, std::string_view name) { return find_number(path, name).value_or(0) * 1024; }

/// How a version of control groups spells what we need.
struct GroupFiles {
  const char* limit;
  const char* usage;
  std::string_view cache;  ///< in memory.stat: file pages that the kernel drops first
};
constexpr GroupFiles kV1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "};
constexpr GroupFiles kV2 = {"memory.max", "memory.current", "inactive_file "};

/// What is left in one group; no limit where it has none ("max") or cannot be read.
std::uint64_t left_in(const fs::path& group, const GroupFiles& files) {
  const auto limit = find_number(group / files.limit, "");
  const auto usage = find_number(group / files.usage, "");
  if (!limit || !usage) {
    return kUnlimited;
  }
  const std::uint64_t cache = std::min(*usage, find_number(group / "memory.stat", files.cache).value_or(0));
  const std::uint64_t used = *usage - cache;
  return *limit > used ? *limit - used : 0;
}

/// The least that is left in the group and those around it. Inside a container, the path may be one of the host's that is not
/// there: then only the mount point counts.
std::uint64_t left_in_all(const fs::path& mount, const fs::path& group, const GroupFiles& files) {
  std::uint64_t least = left_in(mount, files);
  fs::path at = mount;
  for (const fs::path& part : group.relative_path()) {
    at /= part;
    least = std::min(least, left_in(at, files));
  }
  return least;
}

/// Lines of /proc/self/cgroup: "4:memory:/a/b" (v1) or "0::/a/b" (v2).
std::uint64_t left_in_groups(const fs::path& root) {
  std::uint64_t least = kUnlimited;
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':');
    const auto second = first == line.npos ? line.npos : line.find(':', first + 1);
    if (second == line.npos) {
      continue;
    }
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path group = line.substr(second + 1);
    if (controllers == ",,") {
      least = std::min(least, left_in_all(root / "sys/fs/cgroup", group, kV2));
    } else if (controllers.find(",memory,") != controllers.npos) {
      least = std::min(least, left_in_all(root / "sys/fs/cgroup/memory", group, kV1));
    }
  }
  return least;
}

}  // namespace

std::uint64_t available_memory_bytes(const fs::path& root) {
  return std::min(kilobytes(root / "proc/meminfo", "MemAvailable:"), left_in_groups(root));
}

std::uint64_t available_memory_bytes() { return available_memory_bytes("/"); }

std::uint64_t peak_memory_bytes() {
  const std::uint64_t resident = kilobytes("/proc/self/smaps_rollup", "Rss:");
  const std::uint64_t proportional = proportional_memory_bytes();
  const std::uint64_t of_others = proportional == 0 || resident < proportional ? 0 : resident - proportional;
  const std::uint64_t peak = kilobytes("/proc/self/status", "VmHWM:");
  return std::max(peak - std::min(peak, of_others), proportional);  // the system counts the peak in batches of pages
}

std::uint64_t proportional_memory_bytes() { return kilobytes("/proc/self/smaps_rollup", "Pss:"); }

}  // namespace unmask::cluster
