// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/device_rates.h"

#include <algorithm>
#include <array>
#include <functional>

#include "experts/cuda/dense_products.h"
#include "experts/cuda/device.h"

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

}  // namespace

DeviceRates measure_rates() {
  const auto stream = experts::cuda::make_stream();
  DeviceRates rates;
  {
    experts::cuda::Array<std::byte> from(kCopyBytes), to(kCopyBytes);
    rates.bytes_per_second = 2 * static_cast<double>(kCopyBytes) /
                             time_of(stream.get(), [&] { experts::cuda::copy(to.data(), static_cast<const std::byte*>(from.data()), kCopyBytes, stream.get()); });
  }
  experts::cuda::Array<bfloat16> x(kMatrix * kMatrix), w(kMatrix * kMatrix);
  experts::cuda::Array<float> y(kMatrix * kMatrix);
  experts::cuda::Array<std::int32_t> rows(1);
  static const std::vector<bfloat16> values = random_values(kMatrix * kMatrix);
  const std::int32_t count = kMatrix;
  experts::cuda::copy(rows.data(), &count, 1, stream.get());
  for (bfloat16* matrix : {x.data(), w.data()}) {
    experts::cuda::copy(matrix, values.data(), kMatrix * kMatrix, stream.get());
  }
  experts::cuda::DenseProducts dense;
  rates.flops = 2.0 * kMatrix * kMatrix * kMatrix / time_of(stream.get(), [&] {
    dense.multiply({.x = {x.data(), experts::Precision::kBfloat16}, .w = w.data(), .rows = {rows.data(), kMatrix}, .n = kMatrix, .k = kMatrix,
                    .store = experts::cuda::DenseProblem::Store::kWrite, .y = y.data(), .y_stride = kMatrix},
                   stream.get());
  });
  return rates;
}

}  // namespace unmask::runtime::cuda
