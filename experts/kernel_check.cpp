// SPDX-License-Identifier: Apache-2.0
#include "experts/kernel_check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/random.h"
#include "experts/linear.h"

namespace unmask::experts {
namespace {

constexpr double kEpsilon = 0x1p-24;  // half a unit in the last place of 1.0F

/// Values in (-1, 1), rounded to bfloat16 so that both float and bfloat16 hold them.
std::vector<float> random_values(std::int64_t count, std::uint32_t stream) {
  std::vector<float> values(size(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const auto word = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {stream, 0})[0];
    values[size(i)] = round_to_bfloat16(static_cast<float>(static_cast<std::int32_t>(word)) * 0x1p-31F);
  }
  return values;
}

std::vector<bfloat16> to_weights(const std::vector<float>& values) {
  std::vector<bfloat16> weights(values.size());
  std::transform(values.begin(), values.end(), weights.begin(), to_bfloat16);
  return weights;
}

double dot(const float* a, const float* b, std::int64_t count, std::int64_t stride = 1) {
  double total = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    total += double{a[i]} * double{b[i * stride]};
  }
  return total;
}

KernelCheck check_gemm(const KernelFamily& family, Precision precision, std::int64_t rows, std::int64_t outputs, std::int64_t k) {
  const auto x = random_values(rows * k, 1);
  const auto w = random_values(outputs * k, 2);
  const auto weights = to_weights(w);
  std::vector<float> y(size(rows * outputs));
  family.gemm({.x = x.data(), .x_stride = k, .rows = rows, .w = weights.data(), .k = k, .n_begin = 0, .n_end = outputs,
               .y = y.data(), .y_stride = outputs, .precision = precision});
  // Each product is below 1, so a sum of k of them loses at most about k roundings of values below k.
  KernelCheck c{format("gemm{} {} x {} x {}", precision == Precision::kBfloat16 ? " in bf16" : "", rows, outputs, k), 0, kEpsilon * static_cast<double>(2 * k + 32)};
  for (std::int64_t r = 0; r < rows; ++r) {
    std::vector<float> alone(size(outputs));
    family.gemm({.x = x.data() + r * k, .x_stride = k, .rows = 1, .w = weights.data(), .k = k, .n_begin = 0,
                 .n_end = outputs, .y = alone.data(), .y_stride = outputs, .precision = precision});
    if (std::memcmp(alone.data(), y.data() + r * outputs, size(outputs) * sizeof(float)) != 0) {
      c.difference = INFINITY;  // the row's answer depends on its neighbours
    }
    for (std::int64_t n = 0; n < outputs; ++n) {
      c.difference = std::max(c.difference, std::abs(dot(x.data() + r * k, w.data() + n * k, k) - double{y[size(r * outputs + n)]}));
    }
  }
  return c;
}

/// The same through linear() on packed weights, with a team. In float32 inputs are such as bfloat16 does not hold.
KernelCheck check_panels(const KernelFamily& family, Precision precision, std::int64_t rows, std::int64_t outputs, std::int64_t k) {
  auto x = random_values(rows * k, 1);
  for (float& value : x) {
    value *= precision == Precision::kFloat32 ? 1 - 0x1p-12F : 1;
  }
  const auto w = random_values(outputs * k, 2);
  Matrix weights(outputs, k);
  std::transform(w.begin(), w.end(), weights.data(), to_bfloat16);
  weights.pack();
  ThreadTeam team(2);
  const Compute compute{&family, &team, precision};
  std::vector<float> y(size(rows * outputs)), alone(size(outputs));
  linear(compute, x.data(), rows, weights, y.data());
  KernelCheck c{format("panels{} {} x {} x {}", precision == Precision::kBfloat16 ? " in bf16" : "", rows, outputs, k), 0, kEpsilon * static_cast<double>(2 * k + 32)};
  for (std::int64_t r = 0; r < rows; ++r) {
    linear(compute, x.data() + r * k, 1, weights, alone.data());
    if (std::memcmp(alone.data(), y.data() + r * outputs, size(outputs) * sizeof(float)) != 0) {
      c.difference = INFINITY;
    }
    for (std::int64_t n = 0; n < outputs; ++n) {
      c.difference = std::max(c.difference, std::abs(dot(x.data() + r * k, w.data() + n * k, k) - double{y[size(r * outputs + n)]}));
    }
  }
  return c;
}

KernelCheck check_norm(const KernelFamily& family, std::int64_t cols) {
  const auto x = random_values(cols, 3);
  const auto weight = random_values(cols, 4);
  std::vector<float> y(size(cols));
  family.rms_norm({.x = x.data(), .x_stride = cols, .rows = 1, .cols = cols, .weight = weight.data(), .eps = 1e-5F,
                   .precision = Precision::kFloat32, .y = y.data(), .y_stride = cols});
  const double scale = 1.0 / std::sqrt(dot(x.data(), x.data(), cols) / static_cast<double>(cols) + 1e-5);
  KernelCheck c{format("rms_norm {}", cols), 0, kEpsilon * scale * static_cast<double>(cols + 8)};
  for (std::int64_t i = 0; i < cols; ++i) {
    c.difference = std::max(c.difference, std::abs(x[size(i)] * scale * weight[size(i)] - double{y[size(i)]}));
  }
  return c;
}

KernelCheck check_attention(const KernelFamily& family, std::int64_t keys, std::int64_t head_dim, Precision precision) {
  const auto q = random_values(2 * head_dim, 5);
  const auto k = random_values(keys * head_dim, 6);
  const auto v = random_values(keys * head_dim, 7);
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  std::vector<float> out(size(2 * head_dim));
  AlignedBuffer<std::byte> workspace(family.attention_workspace == nullptr ? 0 : family.attention_workspace(keys, head_dim));
  family.attend({.q = q.data(), .q_stride = head_dim, .rows = 2, .k = k.data(), .v = v.data(), .kv_stride = head_dim,
                 .num_keys = keys, .head_dim = head_dim, .scale = scale, .precision = precision, .out = out.data(),
                 .out_stride = head_dim, .workspace = workspace.data()});
  KernelCheck c{format("attend {} keys of {}", keys, head_dim), 0, kEpsilon * static_cast<double>(4 * (keys + head_dim) + 64)};
  if (precision == Precision::kBfloat16) {
    c.what += " in bf16";
    c.bound += 3 * 0x1p-9;  // values are below 1: weights may be rounded above and below the line, and the result is
  }
  for (std::int64_t r = 0; r < 2; ++r) {
    std::vector<float> weight(size(keys));
    double total = 0;
    for (std::int64_t j = 0; j < keys; ++j) {
      const double w = std::exp(dot(q.data() + r * head_dim, k.data() + j * head_dim, head_dim) * double{scale});
      weight[size(j)] = static_cast<float>(w);
      total += w;
    }
    for (std::int64_t d = 0; d < head_dim; ++d) {
      const double expected = dot(weight.data(), v.data() + d, keys, head_dim) / total;
      c.difference = std::max(c.difference, std::abs(expected - double{out[size(r * head_dim + d)]}));
    }
  }
  return c;
}

KernelCheck check_softmax(const KernelFamily& family, std::int64_t cols) {
  auto x = random_values(cols, 8);
  for (auto& value : x) {
    value *= 20;
  }
  auto y = x;
  family.softmax(y.data(), 1, cols);
  double total = 0;
  for (const float value : x) {
    total += std::exp(double{value});
  }
  KernelCheck c{format("softmax {}", cols), 0, kEpsilon * 64};
  for (std::size_t i = 0; i < x.size(); ++i) {
    c.difference = std::max(c.difference, std::abs(std::exp(double{x[i]}) / total - double{y[i]}));
  }
  return c;
}

KernelCheck check_silu(const KernelFamily& family, std::int64_t count) {
  auto gate = random_values(count, 9);
  const auto up = random_values(count, 10);
  for (std::int64_t i = 0; i < count; ++i) {
    gate[size(i)] *= static_cast<float>(i % 120);  // out to where exp() ends
  }
  std::vector<float> h(size(count));
  family.silu_multiply(gate.data(), up.data(), count, Precision::kFloat32, h.data());
  KernelCheck c{format("silu_multiply {}", count), 0, kEpsilon * 120 * 8};
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double expected = double{gate[i]} / (1 + std::exp(-double{gate[i]})) * double{up[i]};
    c.difference = std::max(c.difference, std::abs(expected - double{h[i]}));
  }
  return c;
}

KernelCheck check_summary(const KernelFamily& family, std::int64_t count) {
  auto logits = random_values(count, 11);
  for (auto& value : logits) {
    value *= 10;
  }
  const auto top = std::max_element(logits.begin(), logits.end()) - logits.begin();
  const auto s = family.summarise({.logits = logits.data(), .count = count, .first = 7,
                                   .excluded = static_cast<TokenId>(7 + top), .skip = {}});
  double others = 0;
  std::ptrdiff_t best = -1;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const auto at = [&](std::ptrdiff_t j) { return logits[static_cast<std::size_t>(j)]; };
    others += i == top ? 0.0 : std::exp(double{at(i)} - double{at(top)});
    best = i != top && (best < 0 || at(i) > at(best)) ? i : best;
  }
  KernelCheck c{format("summarise {}", count), std::abs(others - double{s.others}), kEpsilon * 4 * static_cast<double>(count)};
  if (s.top_token != 7 + top || s.best_token != (best < 0 ? -1 : 7 + best) || !s.finite) {
    c.difference = INFINITY;
  }
  return c;
}

void check_panels_of(const KernelFamily& family, const std::array<std::int64_t, 3>& shape, std::vector<KernelCheck>& checks) {
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    if (family.panels != nullptr && family.serves(precision)) {
      checks.push_back(check_panels(family, precision, shape[0], shape[1], shape[2]));
    }
  }
}

}  // namespace

std::vector<KernelCheck> check_kernels(const KernelFamily& family) {
  std::vector<KernelCheck> checks;
  for (const auto [rows, outputs, k] : {std::array<std::int64_t, 3>{1, 1, 1}, {1, 5, 16}, {7, 9, 48}, {33, 31, 80}, {70, 17, 131}}) {
    checks.push_back(check_gemm(family, Precision::kFloat32, rows, outputs, k));
    checks.push_back(check_gemm(family, Precision::kBfloat16, rows, outputs, k));
    check_panels_of(family, {rows, outputs, k}, checks);
  }
  for (const auto [rows, outputs, k] : {std::array<std::int64_t, 3>{16, 64, 256}, {17, 100, 288}, {300, 80, 320}}) {
    check_panels_of(family, {rows, outputs, k}, checks);  // enough panels and tiles for every way through the walk
  }
  for (const std::int64_t cols : {1, 16, 80, 131}) {
    checks.push_back(check_norm(family, cols));
    checks.push_back(check_softmax(family, cols));
    checks.push_back(check_silu(family, cols));
    checks.push_back(check_summary(family, cols));
  }
  for (const std::int64_t keys : {1, 63, 64, 65, 200, 256, 257, 530}) {
    for (const std::int64_t head_dim : {16, 22, 128}) {
      checks.push_back(check_attention(family, keys, head_dim, Precision::kFloat32));
      checks.push_back(check_attention(family, keys, head_dim, Precision::kBfloat16));
    }
  }
  return checks;
}

}  // namespace unmask::experts
