// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include <cuda_runtime.h>

#include "comm/communicator.h"

namespace unmask::comm {

/// How bytes in device memory travel between ranks. All ranks queue the same exchanges in the same order; nothing waits for
/// the host but where it says so. Implementations: NCCL (a GPU for each rank), ranks that are threads and share one GPU.
class DeviceLinks {
 public:
  virtual ~DeviceLinks() = default;

  /// Bytes to a rank, or from it; never the own one, none of 0 bytes. Both ends know the size.
  struct Piece {
    Rank peer;
    void* memory;
    std::int64_t bytes;
  };
  /// Queues one exchange on the stream: everything that goes out of this rank and comes in together. `operation` must outlive the links.
  virtual void exchange(std::string_view operation, std::span<const Piece> out, std::span<const Piece> in, cudaStream_t stream) = 0;

  /// Whether an exchange may be captured in a graph and replayed.
  virtual bool is_capturable() const = 0;

  /// Waits for all that is queued on the stream: politely, and for no longer than the communicator's deadline. Error(kPeerLost) naming
  /// the operation where a peer does not come, the link fails or the device does.
  virtual void wait(cudaStream_t stream) = 0;

  virtual std::string_view name() const = 0;  ///< "nccl", "shared device", "none"
};

/// Collective. What suits the communicator: none for one rank, the shared device for ranks that are threads, else NCCL.
std::unique_ptr<DeviceLinks> make_device_links(Communicator& comm);

}  // namespace unmask::comm
