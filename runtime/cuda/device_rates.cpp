// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/device_rates.h"

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

namespace unmask::runtime::cuda {
namespace {

using experts::cuda::check;

constexpr std::int64_t kCopyBytes = std::int64_t{1} << 29;  // read, and written: far more than any cache
constexpr std::int64_t kMatrix = 8192;
constexpr int kTimes = 5;

/// Seconds of what `queue` queues; the median of some, after one that warms up.
double time_of(cudaStream_t stream, const std::function<void()>& queue) {
  const auto begin = experts::cuda::make_event(experts::cuda::Timing::kOn), end = experts::cuda::make_event(experts::cuda::Timing::kOn);
  std::array<float, kTimes> ms{};
  queue();
  for (float& one : ms) {
    check(cudaEventRecord(begin.get(), stream), "cudaEventRecord");
    queue();
    check(cudaEventRecord(end.get(), stream), "cudaEventRecord");
    check(cudaEventSynchronize(end.get()), "cudaEventSynchronize");
    check(cudaEventElapsedTime(&one, begin.get(), end.get()), "cudaEventElapsedTime");
  }
  std::ranges::sort(ms);
  return 1e-3 * double{ms[kTimes / 2]};
}

/// Numbers of both signs that fill all bits: products of zeros take less power, and less time.
std::vector<bfloat16> random_values(std::int64_t count) {
  std::vector<bfloat16> values;
  std::uint32_t state = 1;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    values.push_back(to_bfloat16(static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31F));
  }
  return values;
}

constexpr experts::cuda::ProductShape kShape{.n = kMatrix, .k = kMatrix, .y_stride = kMatrix, .store = experts::cuda::DenseProblem::Store::kWrite};

}  // namespace

RateMeter::RateMeter()
    : stream_(experts::cuda::make_stream()), from_(kCopyBytes), to_(kCopyBytes), x_(kMatrix * kMatrix), w_(kMatrix * kMatrix),
      y_(kMatrix * kMatrix), rows_(1) {
  const std::vector<bfloat16> values = random_values(kMatrix * kMatrix);
  const std::int32_t count = kMatrix;
  experts::cuda::copy(rows_.data(), &count, 1, stream_.get());
  for (bfloat16* matrix : {x_.data(), w_.data()}) {
    experts::cuda::copy(matrix, values.data(), kMatrix * kMatrix, stream_.get());
  }
  dense_.prepare({.shape = kShape, .w = w_.data(), .most_rows = kMatrix}, stream_.get());
  check(cudaStreamSynchronize(stream_.get()), "cudaStreamSynchronize");  // the values are on their way
}

DeviceRates RateMeter::measure() {
  const double copy = time_of(stream_.get(), [&] {
    experts::cuda::copy(to_.data(), static_cast<const std::byte*>(from_.data()), kCopyBytes, stream_.get());
  });
  const double product = time_of(stream_.get(), [&] {
    dense_.multiply({.x = {x_.data(), experts::Precision::kBfloat16}, .w = w_.data(), .rows = {rows_.data(), kMatrix}, .n = kMatrix, .k = kMatrix,
                     .store = kShape.store, .y = y_.data(), .y_stride = kMatrix},
                    stream_.get());
  });
  return {.bytes_per_second = 2 * static_cast<double>(kCopyBytes) / copy, .flops = 2.0 * kMatrix * kMatrix * kMatrix / product};
}

}  // namespace unmask::runtime::cuda
