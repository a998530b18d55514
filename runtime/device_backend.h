// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "cluster/placement.h"
#include "comm/communicator.h"
#include "comm/exchange.h"
#include "experts/linear.h"
#include "runtime/model_config.h"
#include "runtime/weights.h"

namespace unmask::runtime {

class Transformer;

/// What one rank needs to run on a device; all of it outlives the transformer.
struct DeviceJob {
  const ModelConfig& config;
  const cluster::Placement& placement;
  comm::Communicator& comm;
  experts::Compute compute;         ///< of the rank's processor
  std::string_view kernel = "auto"; ///< --device-kernel
  comm::ExchangeOptions exchange;
  const Logger* log = nullptr;      ///< may be null
};

/// One device of this machine.
struct DeviceFacts {
  std::string name;                 ///< "NVIDIA H200"
  std::string place;                ///< on the bus
  std::string architecture;         ///< "sm_90"
  std::int64_t multiprocessors = 0;
  std::uint64_t memory_bytes = 0, free_bytes = 0;
  std::string unusable;             ///< why, or empty
};

/// How long a device had work, of the steps so far.
struct DeviceTimes {
  std::int64_t queued_steps = 0, replayed_steps = 0;
  double busy_seconds = 0;          ///< from a step's first byte to its last result
  double idle_seconds = 0;          ///< between steps: the host's agreement, decoders, scheduling
};

/// What a device can do at best, as measured just now.
struct DeviceRates {
  double bytes_per_second = 0;      ///< of a copy within its memory, bytes read and written
  double flops = 0;                 ///< of one large product of bf16 matrices
};

/// Devices beside the processor, if this build has any: a build without has another file behind device_backend().
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;
  virtual std::string_view name() const = 0;     ///< as --device names it: "cuda"
  virtual std::string version() const = 0;       ///< of libraries and driver, for people
  /// Whether it has been run on real devices: only then --device auto takes it.
  virtual bool is_proven() const = 0;
  /// Empty where there is no driver; problem says why.
  virtual std::vector<DeviceFacts> devices(std::string& problem) const = 0;

  /// What measures the calling thread's device, with memory of its own that lives as long: a call takes some milliseconds.
  virtual std::function<DeviceRates()> rates() const = 0;

  /// Takes the device of this rank (by rank on host; ranks that are threads share them) for the calling thread, which alone may use the
  /// transformer. Throws Error(kBadInput) saying what is missing.
  virtual DeviceFacts take_device(const comm::Communicator& comm) const = 0;
  /// Throws Error saying why this device cannot compute such experts by this kernel (--device-kernel).
  virtual void require_kernel(std::string_view kernel, const DeviceFacts& device, experts::Precision precision, experts::WeightType type) const = 0;
  /// Collective, behind take_device(). The weights move to the device.
  virtual std::unique_ptr<Transformer> make_transformer(const DeviceJob& job, ModelWeights& weights) const = 0;
};

/// Null in a build without.
const DeviceBackend* device_backend();

}  // namespace unmask::runtime
