// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace unmask::cluster {

/// The machine as hwloc sees it, and the part of it that this process may use.
struct Topology {
  std::string cpu_model;  ///< "unknown" where the machine does not say
  std::int64_t num_sockets = 1;
  std::int64_t num_numa_nodes = 1;
  std::int64_t num_cores = 1;
  std::int64_t num_processing_units = 1;  ///< hardware threads of the machine
  std::int64_t memory_bytes = 0;          ///< of the machine

  std::int64_t l1d_bytes = 0, l2_bytes = 0, l3_bytes = 0;  ///< one cache of each level; 0 where there is none

  std::int64_t num_allowed_units = 1;  ///< hardware threads in the inherited binding (affinity, cpuset)
  std::int64_t num_allowed_cores = 1;  ///< cores those belong to
  double quota_cores = 0;              ///< processor time of the cgroup in cores (cpu.max); 0: no limit

  std::uint64_t binding_hash = 0;  ///< equal on ranks of a host that inherited the same binding

  /// One or two lines for the log and `unmask info`.
  std::string describe() const;
};

/// Reads the machine and the binding of the calling thread. Never throws for an odd machine: what cannot be read keeps its
/// default.
Topology read_topology();

/// The smallest processor-time limit, in cores, of a cgroup v2 path and its parents below `root` (normally
/// "/sys/fs/cgroup"); 0 where there is none.
double cgroup_quota_cores(const std::string& root, const std::string& group);

/// Threads for one rank: the cores of its binding, no more than the quota, divided among the ranks of the host that share
/// this binding (all of them, unless the launcher bound ranks to different cores); at least 1. Hyper-threads of a core
/// count once: the kernels saturate a core with one.
int default_threads(const Topology& topology, std::int64_t ranks_sharing_binding, std::int64_t ranks_on_host);

}  // namespace unmask::cluster
