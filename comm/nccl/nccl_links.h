// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nccl.h>

#include "base/unique_handle.h"
#include "comm/nccl/device_links.h"

namespace unmask::comm {

/// Closing aborts what may still be under way: whoever wants it finished waits before.
struct NcclTraits {
  using Value = ncclComm_t;
  static Value empty() { return nullptr; }
  static void close(Value comm) noexcept { static_cast<void>(ncclCommAbort(comm)); }
};
using NcclHandle = UniqueHandle<NcclTraits>;

/// Links between ranks that have a device each, over NCCL: one group of sends and receives an exchange. The communicator is a
/// non-blocking one, so that no call of NCCL's keeps a host that has to look after the job; ranks that are lost, faults and
/// time-outs abort it.
class NcclLinks final : public DeviceLinks {
 public:
  /// Collective; the thread's current device is the rank's, and every rank has another one.
  explicit NcclLinks(Communicator& comm);
  ~NcclLinks() override;

  void exchange(std::string_view operation, std::span<const Piece> out, std::span<const Piece> in, cudaStream_t stream) override;
  bool is_capturable() const override { return true; }
  void wait(cudaStream_t stream) override;
  std::string_view name() const override { return "nccl"; }

 private:
  void begin();
  void greet();
  void check(ncclResult_t result, std::string_view call);
  void settle(ncclResult_t result, std::string_view call);
  /// Runs the body; on an error aborts the communicator and goes on with the error.
  template <class Body>
  void or_abort(const Body& body);

  Communicator& comm_;
  std::string_view operation_ = "begin";
  NcclHandle nccl_;
};

}  // namespace unmask::comm
