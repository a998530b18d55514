// SPDX-License-Identifier: Apache-2.0
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "simulator/nccl_control.h"
#include "simulator/queue.h"

namespace {

/// How a group came to run. NCCL wants all ranks to do the same: registered buffers are those of graphs.
enum class Origin { kQueued, kReplayed };

struct Message {
  std::vector<std::byte> bytes;
  Origin origin;
};

/// The ranks of one id.
struct Clique {
  std::mutex mutex;
  std::condition_variable changed;
  int num_ranks = 0, joined = 0;
  std::map<std::pair<int, int>, std::deque<Message>> messages;  // [from, to]
};

struct Operation {
  void* memory;
  std::size_t bytes;
  int peer;
};
struct Group {
  std::vector<Operation> sends, receives;
  Origin origin = Origin::kQueued;
  std::vector<std::shared_ptr<const void>> held = {};  // while a graph names it
};

std::mutex registry_mutex;
std::map<unsigned long long, std::weak_ptr<Clique>> registry;
std::map<int, ncclResult_t> faults;  // by rank, also under registry_mutex
unsigned long long last_id = 0;
std::atomic<int> communicators = 0, aborted_at_work = 0;

thread_local int depth = 0;
thread_local std::vector<std::pair<ncclComm_t, cudaStream_t>> touched;

std::shared_ptr<Clique> clique_of(const ncclUniqueId& id, int num_ranks) {
  unsigned long long number = 0;
  std::memcpy(&number, id.internal, sizeof number);
  const std::lock_guard lock(registry_mutex);
  if (number == 0 || number > last_id) {
    return nullptr;
  }
  auto clique = registry[number].lock();
  if (!clique) {
    clique = std::make_shared<Clique>();
    clique->num_ranks = num_ranks;
    registry[number] = clique;
  }
  return clique;
}

}  // namespace

struct ncclComm {
  std::shared_ptr<Clique> clique;
  int rank = 0;
  bool ready = false, finalized = false;
  ncclResult_t state = ncclInProgress;
  std::string last_error;
  Group gathering;                   // between group start and end
  std::vector<Operation> receiving;  // of the group under way

  void fail(ncclResult_t error, std::string text) {
    state = error;
    last_error = std::move(text);
  }
};

namespace {

void send_all(ncclComm& comm, const Group& group) {
  const std::lock_guard lock(comm.clique->mutex);
  for (const Operation& send : group.sends) {
    const auto* bytes = static_cast<const std::byte*>(send.memory);
    comm.clique->messages[{comm.rank, send.peer}].push_back({{bytes, bytes + send.bytes}, group.origin});
  }
  comm.clique->changed.notify_all();
}

/// Receives what has come, in order; the caller holds the clique's lock. False where something is missing.
bool receive_some(ncclComm& comm, std::vector<Operation>& open, Origin origin) {
  while (!open.empty()) {
    const Operation& next = open.front();
    auto& box = comm.clique->messages[{next.peer, comm.rank}];
    if (box.empty()) {
      return false;
    }
    const Message& message = box.front();
    if (message.bytes.size() != next.bytes || message.origin != origin) {
      comm.fail(ncclInvalidUsage, "rank " + std::to_string(next.peer) + " sends " + std::to_string(message.bytes.size()) + " bytes, expected " +
                                      std::to_string(next.bytes) + (message.origin != origin ? "; one of the two replays a graph" : ""));
      return false;
    }
    std::memcpy(next.memory, message.bytes.data(), next.bytes);
    box.pop_front();
    open.erase(open.begin());
  }
  return true;
}

/// Of a replayed graph: no host looks after it.
void run_to_the_end(ncclComm& comm, const Group& group) {
  send_all(comm, group);
  std::vector<Operation> open = group.receives;
  std::unique_lock lock(comm.clique->mutex);
  const bool done = comm.clique->changed.wait_for(lock, std::chrono::seconds(60), [&] {
    return receive_some(comm, open, group.origin) || comm.state == ncclInvalidUsage;
  });
  if (!done || !open.empty()) {
    throw simulator::Fault("a captured group of NCCL calls never ended: " + comm.last_error);
  }
}

ncclResult_t queue_group(ncclComm& comm, cudaStream_t stream) {
  Group group = std::exchange(comm.gathering, {});
  {
    const std::lock_guard lock(registry_mutex);
    if (const auto fault = faults.find(comm.rank); fault != faults.end()) {
      comm.fail(fault->second, "a fault that a test asked for");
      faults.erase(fault);
      return ncclInProgress;  // as with the real one, it shows itself later
    }
  }
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cudaStreamIsCapturing(stream, &status);
  comm.state = ncclInProgress;
  if (status == cudaStreamCaptureStatusActive) {
    group.origin = Origin::kReplayed;
    for (const auto* list : {&group.sends, &group.receives}) {
      for (const Operation& one : *list) {
        group.held.push_back(simulator::hold(one.memory));
      }
    }
    return simulator::queue(stream, [&comm, group] { run_to_the_end(comm, group); }) == cudaSuccess ? ncclInProgress : ncclUnhandledCudaError;
  }
  const cudaError_t queued = simulator::queue(stream, [&] {
    send_all(comm, group);
    comm.receiving = group.receives;
  });
  return queued == cudaSuccess ? ncclInProgress : ncclUnhandledCudaError;
}

ncclResult_t add(ncclComm_t comm, std::vector<Operation> Group::*list, const Operation& operation, cudaStream_t stream) {
  if (depth == 0 || comm == nullptr || !comm->ready || comm->state != ncclSuccess) {
    return ncclInvalidUsage;
  }
  if (operation.peer < 0 || operation.peer >= comm->clique->num_ranks || operation.peer == comm->rank || operation.memory == nullptr) {
    comm->last_error = "a piece that is nobody's";
    return ncclInvalidArgument;
  }
  if (comm->gathering.sends.empty() && comm->gathering.receives.empty()) {
    touched.emplace_back(comm, stream);
  }
  (comm->gathering.*list).push_back(operation);
  return ncclSuccess;
}

}  // namespace

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError: return "unhandled cuda error";
    case ncclSystemError: return "unhandled system error";
    case ncclInternalError: return "internal error";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInvalidUsage: return "invalid usage";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInProgress: return "NCCL operation in progress";
  }
  return "unknown result code";
}
const char* ncclGetLastError(ncclComm_t comm) { return comm == nullptr ? "" : comm->last_error.c_str(); }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const std::lock_guard lock(registry_mutex);
  std::memset(id->internal, 0, sizeof id->internal);
  ++last_id;
  std::memcpy(id->internal, &last_id, sizeof last_id);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int num_ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  *comm = nullptr;
  const bool is_usable = config != nullptr && config->size == sizeof(ncclConfig_t) && config->magic == 0xcafebeef && config->blocking == 0;
  const auto clique = clique_of(id, num_ranks);
  if (!is_usable || !clique || clique->num_ranks != num_ranks || rank < 0 || rank >= num_ranks) {
    return ncclInvalidArgument;
  }
  *comm = new ncclComm{.clique = clique, .rank = rank, .last_error = {}, .gathering = {}, .receiving = {}};
  ++communicators;
  const std::lock_guard lock(clique->mutex);
  ++clique->joined;
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  const std::lock_guard lock(comm->clique->mutex);
  if (comm->state == ncclInProgress) {
    comm->ready = comm->ready || comm->clique->joined == comm->clique->num_ranks;
    if (comm->ready && receive_some(*comm, comm->receiving, Origin::kQueued)) {
      comm->state = ncclSuccess;
    }
  }
  *state = comm->state;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  comm->finalized = true;
  return comm->state;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (!comm->finalized) {
    return ncclInvalidUsage;
  }
  --communicators;
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  aborted_at_work += comm->state != ncclSuccess || !comm->ready ? 1 : 0;
  --communicators;
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (depth == 0) {
    return ncclInvalidUsage;
  }
  if (--depth > 0) {
    return ncclSuccess;
  }
  ncclResult_t result = ncclSuccess;
  for (const auto& [comm, stream] : std::exchange(touched, {})) {
    result = queue_group(*comm, stream);
  }
  return result;
}
ncclResult_t ncclSend(const void* memory, std::size_t count, ncclDataType_t, int peer, ncclComm_t comm, cudaStream_t stream) {
  return add(comm, &Group::sends, {const_cast<void*>(memory), count, peer}, stream);
}
ncclResult_t ncclRecv(void* memory, std::size_t count, ncclDataType_t, int peer, ncclComm_t comm, cudaStream_t stream) {
  return add(comm, &Group::receives, {memory, count, peer}, stream);
}

namespace simulator {

void fail_next_group(int rank, ncclResult_t error) {
  const std::lock_guard lock(registry_mutex);
  faults[rank] = error;
}
int num_communicators() { return communicators; }
int num_aborted_at_work() { return aborted_at_work; }

}  // namespace simulator
