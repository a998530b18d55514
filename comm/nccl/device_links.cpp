// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/device_links.h"

#include "base/error.h"
#include "comm/nccl/device_wait.h"
#include "comm/nccl/nccl_links.h"
#include "comm/nccl/shared_device_links.h"

namespace unmask::comm {
namespace {

/// Of a rank that is alone.
class NoLinks final : public DeviceLinks {
 public:
  explicit NoLinks(Communicator& comm) : comm_(comm) {}
  void exchange(std::string_view operation, std::span<const Piece> out, std::span<const Piece> in, cudaStream_t /*stream*/) override {
    UNMASK_CHECK(out.empty() && in.empty(), "{}: {} pieces out and {} in for a rank without others", operation, out.size(), in.size());
  }
  bool is_capturable() const override { return true; }
  void wait(cudaStream_t stream) override {
    wait_until(comm_, "wait for the device", [&] { return is_idle(stream, "wait for the device"); });
  }
  std::string_view name() const override { return "none"; }

 private:
  Communicator& comm_;
};

}  // namespace

std::unique_ptr<DeviceLinks> make_device_links(Communicator& comm) {
  if (comm.num_ranks() == 1) {
    return std::make_unique<NoLinks>(comm);
  }
  if (comm.transport() == "threads") {
    return std::make_unique<SharedDeviceLinks>(comm);
  }
  return std::make_unique<NcclLinks>(comm);
}

}  // namespace unmask::comm
