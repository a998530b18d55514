// SPDX-License-Identifier: Apache-2.0
// NCCL's functions as this program calls them: forwarded to a library that is loaded with the first call, all of them found
// then. Linked, it would cost every run on processors some 100 MB.
#include <nccl.h>

#include "base/late_library.h"

namespace {

struct Functions {
  unmask::LateLibrary library{"libnccl.so.2", UNMASK_NCCL_FILE};
#define UNMASK_LATE(name) decltype(&::name) name = library.find<decltype(&::name)>(#name)
  UNMASK_LATE(ncclCommAbort);
  UNMASK_LATE(ncclCommFinalize);
  UNMASK_LATE(ncclCommGetAsyncError);
  UNMASK_LATE(ncclCommInitRankConfig);
  UNMASK_LATE(ncclGetErrorString);
  UNMASK_LATE(ncclGetLastError);
  UNMASK_LATE(ncclGetUniqueId);
  UNMASK_LATE(ncclGroupEnd);
  UNMASK_LATE(ncclGroupStart);
  UNMASK_LATE(ncclRecv);
  UNMASK_LATE(ncclSend);
#undef UNMASK_LATE
};

const Functions& functions() {
  static const Functions found;
  return found;
}

}  // namespace

ncclResult_t ncclCommAbort(ncclComm_t comm) { return functions().ncclCommAbort(comm); }
ncclResult_t ncclCommFinalize(ncclComm_t comm) { return functions().ncclCommFinalize(comm); }
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) { return functions().ncclCommGetAsyncError(comm, error); }
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  return functions().ncclCommInitRankConfig(comm, ranks, id, rank, config);
}
const char* ncclGetErrorString(ncclResult_t result) { return functions().ncclGetErrorString(result); }
const char* ncclGetLastError(ncclComm_t comm) { return functions().ncclGetLastError(comm); }
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) { return functions().ncclGetUniqueId(id); }
ncclResult_t ncclGroupEnd() { return functions().ncclGroupEnd(); }
ncclResult_t ncclGroupStart() { return functions().ncclGroupStart(); }
ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  return functions().ncclRecv(to, count, type, peer, comm, stream);
}
ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  return functions().ncclSend(from, count, type, peer, comm, stream);
}
