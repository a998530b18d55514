// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/nccl_links.h"

#include <chrono>
#include <cstring>
#include <exception>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "comm/nccl/device_wait.h"

namespace unmask::comm {
namespace {

constexpr double kLeaveSeconds = 5;  // for what is under way at an orderly end, where all ranks have met before

/// A few bytes of device memory.
struct DeviceBytesTraits {
  using Value = void*;
  static Value empty() { return nullptr; }
  static void close(Value memory) noexcept { static_cast<void>(cudaFree(memory)); }
};
using DeviceBytes = UniqueHandle<DeviceBytesTraits>;

struct StreamTraits {
  using Value = cudaStream_t;
  static Value empty() { return nullptr; }
  static void close(Value stream) noexcept { static_cast<void>(cudaStreamDestroy(stream)); }
};

}  // namespace

NcclLinks::NcclLinks(Communicator& comm) : comm_(comm) {
  begin();
  greet();
}

/// Whoever fails here ends the job with its name; the others find it silent.
void NcclLinks::begin() {
  ncclUniqueId id{};
  if (comm_.is_root()) {
    check(ncclGetUniqueId(&id), "ncclGetUniqueId");
  }
  const Bytes shared = comm_.broadcast(std::as_bytes(std::span(id.internal)), Rank(0));
  UNMASK_CHECK(shared.size() == sizeof id.internal, "{} bytes for NCCL's id", shared.size());
  std::memcpy(id.internal, shared.data(), shared.size());

  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t nccl = nullptr;
  const ncclResult_t result = ncclCommInitRankConfig(&nccl, static_cast<int>(comm_.num_ranks()), id, comm_.rank().value, &config);
  nccl_ = NcclHandle(nccl);
  settle(result, "ncclCommInitRankConfig");
}

/// The first exchange, of every pair of ranks: NCCL connects them, which it could not do while a step is captured.
void NcclLinks::greet() {
  const std::int64_t num_ranks = comm_.num_ranks();
  const std::int64_t bytes = sizeof(std::int32_t);
  void* memory = nullptr;
  check_device(cudaMalloc(&memory, size(2 * num_ranks * bytes)), "cudaMalloc", "begin");
  const DeviceBytes owner(memory);
  auto* out = static_cast<std::int32_t*>(memory);
  auto* in = out + num_ranks;
  std::vector<std::int32_t> words(size(num_ranks)), heard(size(num_ranks), -1);
  std::vector<Piece> sends, receives;
  for (Rank rank(0); rank.value < num_ranks; ++rank) {
    words[rank.at()] = static_cast<std::int32_t>(comm_.rank().value * num_ranks + rank.value);
    if (rank != comm_.rank()) {
      sends.push_back({rank, out + rank.value, bytes});
      receives.push_back({rank, in + rank.value, bytes});
    }
  }
  cudaStream_t stream = nullptr;
  check_device(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags", "begin");
  const UniqueHandle<StreamTraits> stream_owner(stream);
  const std::size_t all = size(num_ranks * bytes);
  check_device(cudaMemcpyAsync(out, words.data(), all, cudaMemcpyDefault, stream), "cudaMemcpyAsync", "begin");
  check_device(cudaMemcpyAsync(in, heard.data(), all, cudaMemcpyDefault, stream), "cudaMemcpyAsync", "begin");
  exchange("greeting over NCCL", sends, receives, stream);
  check_device(cudaMemcpyAsync(heard.data(), in, all, cudaMemcpyDefault, stream), "cudaMemcpyAsync", "begin");
  wait(stream);
  for (Rank rank(0); rank.value < num_ranks; ++rank) {
    const std::int64_t expected = rank == comm_.rank() ? -1 : rank.value * num_ranks + comm_.rank().value;
    require(heard[rank.at()] == expected, ExitCode::kPeerLost, "greeting over NCCL: expected {} from rank {}, found {}", expected, rank,
            heard[rank.at()]);
  }
}

NcclLinks::~NcclLinks() {
  if (!nccl_ || std::uncaught_exceptions() > 0) {
    return;
  }
  ncclResult_t state = ncclCommFinalize(nccl_.get());
  for (const Stopwatch clock; state == ncclInProgress && clock.seconds() < kLeaveSeconds;) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    if (ncclCommGetAsyncError(nccl_.get(), &state) != ncclSuccess) {
      break;
    }
  }
}

template <class Body>
void NcclLinks::or_abort(const Body& body) {
  require(static_cast<bool>(nccl_), ExitCode::kPeerLost, "{}: NCCL was aborted before", operation_);
  try {
    body();
  } catch (...) {
    nccl_.reset();
    throw;
  }
}

void NcclLinks::check(ncclResult_t result, std::string_view call) {
  require(result == ncclSuccess || result == ncclInProgress, ExitCode::kPeerLost,
          "{}: {} failed: {} ({}): NCCL_DEBUG=INFO tells more", operation_, call, ncclGetErrorString(result), ncclGetLastError(nccl_.get()));
}

/// Until NCCL has queued what it was asked for.
void NcclLinks::settle(ncclResult_t result, std::string_view call) {
  check(result, call);
  if (result == ncclInProgress) {
    wait_until(comm_, operation_, [&] {
      ncclResult_t state = ncclSuccess;
      check(ncclCommGetAsyncError(nccl_.get(), &state), "ncclCommGetAsyncError");
      check(state, call);
      return state == ncclSuccess;
    });
  }
}

void NcclLinks::exchange(std::string_view operation, std::span<const Piece> out, std::span<const Piece> in, cudaStream_t stream) {
  operation_ = operation;
  if (out.empty() && in.empty()) {
    return;
  }
  or_abort([&] {
    check(ncclGroupStart(), "ncclGroupStart");
    for (const Piece& piece : out) {
      check(ncclSend(piece.memory, size(piece.bytes), ncclUint8, piece.peer.value, nccl_.get(), stream), "ncclSend");
    }
    for (const Piece& piece : in) {
      check(ncclRecv(piece.memory, size(piece.bytes), ncclUint8, piece.peer.value, nccl_.get(), stream), "ncclRecv");
    }
    settle(ncclGroupEnd(), "ncclGroupEnd");
  });
}

void NcclLinks::wait(cudaStream_t stream) {
  or_abort([&] {
    wait_until(comm_, operation_, [&] {
      ncclResult_t state = ncclSuccess;
      check(ncclCommGetAsyncError(nccl_.get(), &state), "ncclCommGetAsyncError");
      check(state, "ncclCommGetAsyncError");
      return is_idle(stream, operation_);
    });
  });
}

}  // namespace unmask::comm
