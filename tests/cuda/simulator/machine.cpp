// SPDX-License-Identifier: Apache-2.0
// Devices and errors.
#include <array>
#include <atomic>
#include <cstdio>
#include <string_view>
#include <utility>

#include <cuda.h>

#include "memory.h"
#include "simulator/control.h"
#include "simulator/host.h"
#include "state.h"

namespace {

std::atomic<int> device_count = 1;
std::atomic<cudaError_t> fault = cudaSuccess;
thread_local cudaError_t last = cudaSuccess;
thread_local int current_device = 0;

struct ErrorText {
  cudaError_t code;
  const char *name, *text;
};
/// Those that tests meet; the texts are CUDA's.
constexpr std::array kErrors = {
    ErrorText{cudaSuccess, "cudaSuccess", "no error"},
    ErrorText{cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    ErrorText{cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    ErrorText{cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    ErrorText{cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    ErrorText{cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    ErrorText{cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    ErrorText{cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    ErrorText{cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    ErrorText{cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    ErrorText{cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
              "capturing stream has unjoined work"},
    ErrorText{cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
              "dependency created on uncaptured work in another stream"},
};

const ErrorText* find(cudaError_t error) {
  for (const ErrorText& known : kErrors) {
    if (known.code == error) {
      return &known;
    }
  }
  return nullptr;
}

bool exists(int device) { return device >= 0 && device < device_count; }

}  // namespace

namespace simulator {

cudaError_t fault_of_device() { return fault; }

cudaError_t noted(cudaError_t error) {
  const cudaError_t result = fault != cudaSuccess ? fault.load() : error;
  if (result != cudaSuccess) {
    last = result;
  }
  return result;
}

void set_device_count(int count) { device_count = count; }
void break_device(cudaError_t error) {
  fault = error;
  last = error;
}

}  // namespace simulator

using simulator::noted;

const char* cudaGetErrorName(cudaError_t error) {
  const ErrorText* const known = find(error);
  return known == nullptr ? "unrecognized error code" : known->name;
}
const char* cudaGetErrorString(cudaError_t error) {
  const ErrorText* const known = find(error);
  return known == nullptr ? "unrecognized error code" : known->text;
}
cudaError_t cudaGetLastError() { return fault != cudaSuccess ? fault.load() : std::exchange(last, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return fault != cudaSuccess ? fault.load() : last; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count;
  return noted(*count == 0 ? cudaErrorNoDevice : cudaSuccess);
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return noted(cudaSuccess);
}
cudaError_t cudaSetDevice(int device) {
  if (!exists(device)) {
    return noted(cudaErrorInvalidDevice);
  }
  current_device = device;
  return noted(cudaSuccess);
}
cudaError_t cudaSetDeviceFlags(unsigned) { return noted(cudaSuccess); }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!exists(device)) {
    return noted(cudaErrorInvalidDevice);
  }
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "simulated device");
  properties->uuid.bytes[15] = static_cast<char>(device);
  properties->totalGlobalMem = simulator::total_bytes();
  properties->sharedMemPerBlock = 48 * 1024;
  properties->sharedMemPerBlockOptin = 227 * 1024;
  properties->sharedMemPerMultiprocessor = 228 * 1024;
  properties->regsPerBlock = 65536;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->major = 9;
  properties->multiProcessorCount = 4;
  properties->l2CacheSize = 1 << 20;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->memoryBusWidth = 64;
  properties->pciBusID = device + 1;
  return noted(cudaSuccess);
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, device); error != cudaSuccess) {
    return error;
  }
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = properties.multiProcessorCount; break;
    case cudaDevAttrComputeCapabilityMajor: *value = properties.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = properties.minor; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(properties.sharedMemPerBlockOptin); break;
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  if (!exists(device)) {
    return noted(cudaErrorInvalidDevice);
  }
  std::snprintf(id, static_cast<std::size_t>(length), "0000:%02x:00.0", static_cast<unsigned>(device + 1) & 0xFFU);
  return noted(cudaSuccess);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return noted(cudaSuccess);
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = device_count == 0 ? 0 : 13000;
  return noted(cudaSuccess);
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return noted(cudaSuccess);
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long, cudaDriverEntryPointQueryResult* result) {
  const bool known = std::string_view(name) == "cuTensorMapEncodeTiled";
  *function = known ? reinterpret_cast<void*>(&cuTensorMapEncodeTiled) : nullptr;
  *result = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return noted(cudaSuccess);
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute attribute, int value) {
  constexpr int kMostSharedBytes = 227 * 1024;
  return noted(attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && value > kMostSharedBytes ? cudaErrorInvalidValue : cudaSuccess);
}
