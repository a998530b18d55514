// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <memory>

#include <cuda_runtime.h>

#include "experts/cuda/device.h"
#include "runtime/cuda/device_rates.h"
#include "runtime/cuda/device_transformer.h"
#include "runtime/device_backend.h"

namespace unmask::runtime {
namespace {

using experts::cuda::check;

constexpr int kOldestArchitecture = 80;  // bf16 in the matrix units, asynchronous copies

std::string version_text(int version) { return format("{}.{}", version / 1000, version % 1000 / 10); }

DeviceFacts facts_of(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  DeviceFacts facts{.name = properties.name, .place = {}, .architecture = format("sm_{}{}", properties.major, properties.minor),
                    .multiprocessors = properties.multiProcessorCount, .memory_bytes = properties.totalGlobalMem, .free_bytes = 0,
                    .unusable = {}};
  char place[32] = "";
  check(cudaDeviceGetPCIBusId(place, static_cast<int>(sizeof place), device), "cudaDeviceGetPCIBusId");
  facts.place = place;
  if (10 * properties.major + properties.minor < kOldestArchitecture) {
    facts.unusable = format("expected an architecture of sm_{} or newer, found {}", kOldestArchitecture, facts.architecture);
  }
  return facts;
}

class CudaBackend final : public DeviceBackend {
 public:
  std::string_view name() const override { return "cuda"; }

  std::string version() const override {
    int runtime_version = 0, driver = 0;
    static_cast<void>(cudaRuntimeGetVersion(&runtime_version));
    static_cast<void>(cudaDriverGetVersion(&driver));
    return format("CUDA {}, driver for {}", version_text(runtime_version), driver == 0 ? "none" : version_text(driver));
  }

  /// Everything of this backend compiles, links, and runs on the tests' simulator; no real device has run it yet.
  bool is_proven() const override { return false; }

  std::vector<DeviceFacts> devices(std::string& problem) const override {
    int count = 0;
    if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      problem = format("{} ({})", cudaGetErrorString(status), cudaGetErrorName(status));
      return {};
    }
    std::vector<DeviceFacts> all;
    int before = 0;
    const bool had_device = cudaGetDevice(&before) == cudaSuccess;
    for (int device = 0; device < count; ++device) {
      all.push_back(facts_of(device));
      std::size_t left = 0, memory = 0;
      if (cudaSetDevice(device) == cudaSuccess && cudaMemGetInfo(&left, &memory) == cudaSuccess) {
        all.back().free_bytes = left;
      }
    }
    if (had_device) {
      static_cast<void>(cudaSetDevice(before));
    }
    return all;
  }

  std::function<DeviceRates()> rates() const override {
    return [meter = std::make_shared<cuda::RateMeter>()] { return meter->measure(); };
  }

  DeviceFacts take_device(const comm::Communicator& comm) const override {
    std::string problem;
    const auto all = devices(problem);
    require(!all.empty(), ExitCode::kBadInput, "--device cuda: no device of this host can be used: {}: install a driver, or use --device cpu",
            problem.empty() ? "there is none" : problem);
    const auto count = std::ssize(all);
    const bool shares = comm.transport() == "threads";
    require(shares || comm.num_ranks_on_host() <= count, ExitCode::kBadInput,
            "--device cuda: this host has {} devices for {} ranks: start one rank per device", count, comm.num_ranks_on_host());
    const std::int64_t device = shares ? 0 : comm.rank_on_host();
    const DeviceFacts& mine = all[static_cast<std::size_t>(device)];
    require(mine.unusable.empty(), ExitCode::kBadInput, "--device cuda: {} at {}: {}", mine.name, mine.place, mine.unusable);
    check(cudaSetDevice(static_cast<int>(device)), "cudaSetDevice");
    return mine;
  }

  void require_kernel(std::string_view kernel, const DeviceFacts& device, experts::Precision precision, experts::WeightType type) const override {
    if (kernel != "wgmma") {
      return;
    }
    require(device.architecture == "sm_90", ExitCode::kBadInput, "--device-kernel wgmma: expected a device of sm_90, found {} ({}): use mma",
            device.architecture, device.name);
    require(precision == experts::Precision::kBfloat16 && type == experts::WeightType::kBf16, ExitCode::kBadInput,
            "--device-kernel wgmma: expected --dtype bf16, found another: use mma");
  }

  std::unique_ptr<Transformer> make_transformer(const DeviceJob& job, ModelWeights& weights) const override {
    return std::make_unique<cuda::DeviceTransformer>(job, weights, comm::make_device_links(job.comm));
  }
};

}  // namespace

const DeviceBackend* device_backend() {
  static const CudaBackend backend;
  return &backend;
}

}  // namespace unmask::runtime
