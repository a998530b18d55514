// SPDX-License-Identifier: Apache-2.0
#include "experts/cuda/product_check.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/format.h"
#include "experts/cuda/device.h"

namespace unmask::experts::cuda {
namespace {

constexpr std::int64_t kMostBytes = std::int64_t{1} << 28;  // of y
constexpr std::int64_t kWindow = 160;                       // rows that are compared, at each of the beginning and the end
constexpr int kStart = 0x3c;                                // bytes that y begins with: 0.0115 as floats

/// Values of about one, by a linear congruential generator (Knuth's MMIX).
std::vector<bfloat16> random_rows(std::int64_t count) {
  std::vector<bfloat16> values(static_cast<std::size_t>(count));
  std::uint64_t state = 1;
  for (bfloat16& value : values) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    value = to_bfloat16(static_cast<float>(static_cast<std::int32_t>(state >> 32)) * 0x1p-31F);
  }
  return values;
}

class Checker {
 public:
  Checker(const ProductCheck& asked, cudaStream_t stream)
      : asked_(asked), stream_(stream), rows_(std::max<std::int64_t>(1, std::min(asked.most_rows, kMostBytes / (4 * asked.shape.y_stride)))),
        host_x_(random_rows(rows_ * asked.shape.k)), x_(rows_ * asked.shape.k), y_(rows_ * asked.shape.y_stride) {
    copy(x_.data(), host_x_.data(), rows_ * asked.shape.k, stream);
  }

  std::string run() {
    const std::int64_t window = std::min(rows_, kWindow);
    std::vector<std::int64_t> begins{0};
    if (rows_ > window) {
      begins.push_back(rows_ - window);
    }
    multiply(0, rows_);
    std::vector<std::vector<float>> all;
    for (const std::int64_t begin : begins) {
      all.push_back(fetch(begin, window));
    }
    for (std::size_t i = 0; i < begins.size(); ++i) {
      std::string wrong = find_wrong(all[i], begins[i]);
      for (const std::int64_t count : {1, 2, 3, 8, 15, 16, 17, 32, 33, 64, 65, 100, 128, 129, 160}) {
        for (const std::int64_t skipped : {0, 1, 5, 31}) {
          if (wrong.empty() && skipped + count <= window) {
            wrong = find_different(all[i], begins[i], skipped, count);
          }
        }
      }
      if (!wrong.empty()) {
        return wrong;
      }
    }
    return {};
  }

 private:
  void multiply(std::int64_t first, std::int64_t rows) {
    check(cudaMemsetAsync(y_.data(), kStart, y_.bytes(), stream_), "cudaMemsetAsync");
    asked_.multiply(x_.data() + first * asked_.shape.k, rows, y_.data());
  }
  std::vector<float> fetch(std::int64_t begin, std::int64_t rows) {
    std::vector<float> values(static_cast<std::size_t>(rows * asked_.shape.y_stride));
    copy(values.data(), y_.data() + begin * asked_.shape.y_stride, rows * asked_.shape.y_stride, stream_);
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    return values;
  }

  /// Rows [skipped, skipped + count) of the window by themselves, against what they were among all.
  std::string find_different(const std::vector<float>& all, std::int64_t begin, std::int64_t skipped, std::int64_t count) {
    multiply(begin + skipped, count);
    const std::vector<float> some = fetch(0, count);
    for (std::int64_t i = 0; i < count * asked_.shape.y_stride; ++i) {
      const float alone = some[static_cast<std::size_t>(i)];
      const float among = all[static_cast<std::size_t>(skipped * asked_.shape.y_stride + i)];
      if (std::bit_cast<std::uint32_t>(alone) != std::bit_cast<std::uint32_t>(among)) {
        return format("a row among {} has other bits than among {}", count, rows_);
      }
    }
    return {};
  }

  /// Some sums in double precision: off by k + 2 roundings at most.
  std::string find_wrong(const std::vector<float>& all, std::int64_t begin) {
    const auto [n, k, y_stride, store] = asked_.shape;
    std::vector<bfloat16> weights(static_cast<std::size_t>(k));
    for (int i = 0; i < 16; ++i) {
      const std::int64_t output = i * (n - 1) / 15;
      const std::int64_t row = i * (static_cast<std::int64_t>(all.size()) / y_stride - 1) / 15;
      copy(weights.data(), asked_.w + output * k, k, stream_);
      check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
      double sum = store == DenseProblem::Store::kAdd ? static_cast<double>(std::bit_cast<float>(0x01010101U * kStart)) : 0.0;
      double size = std::abs(sum);
      for (std::int64_t j = 0; j < k; ++j) {
        const double product = static_cast<double>(to_float(host_x_[static_cast<std::size_t>((begin + row) * k + j)])) *
                               static_cast<double>(to_float(weights[static_cast<std::size_t>(j)]));
        sum += product;
        size += std::abs(product);
      }
      const auto found = static_cast<double>(all[static_cast<std::size_t>(row * y_stride + output)]);
      if (!(std::abs(found - sum) <= std::ldexp(static_cast<double>(k + 2), -23) * size)) {
        return format("row {} output {} is {} instead of {}", begin + row, output, found, sum);
      }
    }
    return {};
  }

  const ProductCheck& asked_;
  cudaStream_t stream_;
  std::int64_t rows_;
  std::vector<bfloat16> host_x_;
  Array<bfloat16> x_;
  Array<float> y_;
};

}  // namespace

std::string check_product(const ProductCheck& asked, cudaStream_t stream) { return Checker(asked, stream).run(); }

}  // namespace unmask::experts::cuda
