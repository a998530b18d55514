// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/nccl/device_links.h"
#include "comm/nccl/device_wait.h"

namespace unmask::comm {

/// Links between ranks that are threads of one process and share one device, on which NCCL refuses more than one rank. Bytes
/// are copied by whom they are for, when the streams of both have come so far; the hosts meet, the device does not wait for them:
///
///   host of a    say what goes out ---meet---  queue copies      ---meet---
///   stream of a  ...work, [ready]             wait ready(b), copy, [taken]     wait taken(b), work...
///   stream of b  ...work, [ready]             wait ready(a), copy, [taken]     wait taken(a), work...
class SharedDeviceLinks final : public DeviceLinks {
 public:
  explicit SharedDeviceLinks(Communicator& comm);  ///< collective

  void exchange(std::string_view operation, std::span<const Piece> out, std::span<const Piece> in, cudaStream_t stream) override;
  bool is_capturable() const override { return false; }
  void wait(cudaStream_t stream) override;
  std::string_view name() const override { return "shared device"; }

 private:
  /// What a rank shows the others; it lives as long as any of them.
  struct Board {
    DeviceEvent ready, taken;
    std::uint64_t number = 0;  ///< of the exchange
    std::string operation;
    std::vector<Piece> out;
  };
  void meet(std::string_view operation);
  void take_from(const Board& peer, Rank from, std::span<const Piece> in, cudaStream_t stream);

  Communicator& comm_;
  std::vector<std::shared_ptr<Board>> boards_;  ///< by rank
  std::uint64_t number_ = 0;
  std::string_view operation_ = "begin";
};

}  // namespace unmask::comm
