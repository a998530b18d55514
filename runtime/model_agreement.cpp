// SPDX-License-Identifier: Apache-2.0
// What ranks find out together before they load.
#include <algorithm>

#include "base/byte_stream.h"
#include "cluster/topology.h"
#include "runtime/model.h"

namespace unmask::runtime {
namespace {

/// The names of the families that this processor can run for the precision, each between blanks.
std::string supported_names(experts::Precision precision) {
  std::string names = " ";
  for (const experts::KernelFamily* family : experts::kernel_families()) {
    names += family->serves(precision) && family->supported() ? std::string(family->name) + " " : "";
  }
  return names;
}

}  // namespace

const experts::KernelFamily& agree_on_kernels(comm::Communicator& comm, const std::string& wanted, experts::Precision precision,
                                              const Logger* log) {
  const experts::KernelFamily* mine = nullptr;
  comm::run_together(comm, [&] { mine = &experts::choose_kernel_family(wanted, precision); });
  if (wanted != "auto") {
    return *mine;
  }
  std::vector<std::string> names;
  for (const auto& bytes : comm.all_gather(ByteWriter().put(supported_names(precision)).take())) {
    names.push_back(ByteReader(bytes).get_text());
  }
  for (const experts::KernelFamily* family : experts::kernel_families()) {
    const std::string word = format(" {} ", family->name);
    const auto without = std::ranges::find_if(names, [&](const std::string& all) { return all.find(word) == std::string::npos; });
    if (without == names.end()) {
      if (log != nullptr) {
        log->debug("kernels: {}", family->name);
      }
      return *family;
    }
    if (log != nullptr && names[comm.rank().at()].find(word) != std::string::npos) {
      log->info("kernels {} are left out: rank {} cannot run them", family->name, without - names.begin());
    }
  }
  UNMASK_CHECK(false, "no kernel family runs everywhere, not even {}", mine->name);
}

int share_of_cores(comm::Communicator& comm, const Logger* log) {
  const cluster::Topology machine = cluster::read_topology();
  if (log != nullptr) {
    log->debug("machine: {}", machine.describe());
  }
  std::int64_t sharing = 0;
  for (const auto& bytes : comm.all_gather(ByteWriter().put(comm.host()).put(machine.binding_hash).take())) {
    ByteReader reader(bytes);
    const bool same_host = reader.get_text() == comm.host();
    sharing += same_host && reader.get<std::uint64_t>() == machine.binding_hash ? 1 : 0;
  }
  return cluster::default_threads(machine, sharing, comm.num_ranks_on_host());
}

}  // namespace unmask::runtime
