// SPDX-License-Identifier: Apache-2.0
#include "experts/quantised.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/types.h"

namespace unmask::experts {
namespace {

constexpr std::int64_t kLongestGroup = 64;
constexpr float kLeast = 0x1p-100F;   // groups below are zeros: no number * scale is then ever subnormal
constexpr float kMostScale = 0x1p120F;  // 127 of it is still a bfloat16
constexpr float kRounder = 0x1.8p23F;  // x + kRounder - kRounder rounds to nearest even

/// One group as floats, and as the numbers chosen for it.
struct Group {
  float values[kLongestGroup];
  float numbers[kLongestGroup];
  float scale;
};

/// Sets numbers for this scale and returns the sum of squared errors.
float choose_numbers(Group& g, std::int64_t count, float scale, float least, float most) {
  const float inverse = 1.0F / scale;
  float error[4] = {};  // four sums, so that the order does not hang on the vector's length
  for (std::int64_t i = 0; i < count; i += 4) {
    for (std::int64_t j = 0; j < 4; ++j) {
      const float clipped = std::min(std::max(g.values[i + j] * inverse, least), most);
      const float number = (clipped + kRounder) - kRounder;
      const float difference = g.values[i + j] - number * scale;
      g.numbers[i + j] = number;
      error[j] += difference * difference;
    }
  }
  return (error[0] + error[1]) + (error[2] + error[3]);
}

float largest(const Group& g, std::int64_t count) {
  float most = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    most = std::max(most, std::abs(g.values[i]));
  }
  return most;
}

void choose_int8(Group& g, std::int64_t count) {
  const float most = largest(g, count);
  g.scale = most < kLeast ? 0 : round_to_bfloat16(std::min(most / 127, kMostScale));
  if (g.scale != 0) {
    choose_numbers(g, count, g.scale, -127, 127);
  }
}

/// Five significant bits, to nearest.
float round_scale(float scale) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(scale);
  return std::bit_cast<float>((bits + (1U << 18)) & ~((1U << 19) - 1));
}

/// The value of largest magnitude becomes -8; of that scale and some smaller ones, the one of least error wins.
void choose_int4(Group& g, std::int64_t count) {
  const float most = largest(g, count);
  g.scale = 0;
  if (most < kLeast) {
    return;
  }
  const bool is_positive = std::find(g.values, g.values + count, most) != g.values + count;
  const float first = std::min(most / 8, kMostScale) * (is_positive ? -1.0F : 1.0F);
  float least_error = std::numeric_limits<float>::infinity();
  for (const float share : {1.0F, 0.93F, 0.86F, 0.8F}) {
    const float scale = round_scale(first * share);
    const float error = choose_numbers(g, count, scale, -8, 7);
    if (g.scale == 0 || error < least_error) {
      least_error = error;
      g.scale = scale;
    }
  }
  choose_numbers(g, count, g.scale, -8, 7);
}

/// Where the number of output n and input k lies in a tile.
constexpr std::int64_t byte_of(std::int64_t n, std::int64_t k) { return k * kPanelRows + n; }

struct Nibble {
  std::int64_t byte;
  int shift;
};
constexpr Nibble nibble_of(std::int64_t n, std::int64_t k) {
  return {k / 8 * 64 + n * 4 + k % 8 / 2, static_cast<int>(k % 2 * 4)};
}

/// Where group number `group` of a panel and its tiles begin.
struct GroupPlace {
  std::byte* scales;  ///< [16]
  std::byte* tiles;
};
GroupPlace place_of_group(WeightType type, std::byte* panel, std::int64_t group) {
  const QuantisedForm form = quantised_form(type);
  std::byte* block = panel + group / 2 * form.block_bytes();
  return {block + group % 2 * QuantisedForm::kScaleBytes / 2,
          block + QuantisedForm::kScaleBytes + group % 2 * form.block_tiles / 2 * form.tile_bytes};
}

void store(WeightType type, const Group& g, std::int64_t n, GroupPlace to) {
  const QuantisedForm form = quantised_form(type);
  const bfloat16 scale = to_bfloat16(g.scale);
  std::memcpy(to.scales + n * 2, &scale, sizeof(scale));
  for (std::int64_t k = 0; k < form.group && g.scale != 0; ++k) {
    const auto number = static_cast<std::int32_t>(g.numbers[k]);
    std::byte* tile = to.tiles + k / kTileCols * form.tile_bytes;
    if (type == WeightType::kInt8) {
      tile[byte_of(n, k % kTileCols)] = static_cast<std::byte>(number);
    } else {
      const auto [byte, shift] = nibble_of(n, k % kTileCols);
      tile[byte] |= static_cast<std::byte>((number & 15) << shift);
    }
  }
}

/// To nearest, ties away from zero: what vector units do in one addition.
bfloat16 round_away(float x) { return {static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(x) + 0x8000U) >> 16)}; }

float number_at(WeightType type, const std::byte* tile, std::int64_t n, std::int64_t k) {
  if (type == WeightType::kInt8) {
    return static_cast<float>(static_cast<std::int8_t>(tile[byte_of(n, k)]));
  }
  const auto [byte, shift] = nibble_of(n, k);
  const int bits = static_cast<int>(tile[byte]) >> shift & 15;
  return static_cast<float>(bits < 8 ? bits : bits - 16);
}

template <class Value, class Rounding>
void expand(const Matrix& m, std::int64_t begin, std::int64_t end, Value* rows, Rounding as_value) {
  const QuantisedForm form = quantised_form(m.type());
  UNMASK_CHECK(begin % kPanelRows == 0 && begin <= end && end <= m.rows(), "rows {} to {} of {}", begin, end, m.rows());
  for (std::int64_t r = begin; r < end; ++r) {
    auto* panel = const_cast<std::byte*>(m.quantised_panel(r / kPanelRows));  // only read
    for (std::int64_t k = 0; k < m.cols(); ++k) {
      const GroupPlace group = place_of_group(m.type(), panel, k / form.group);
      bfloat16 scale;
      std::memcpy(&scale, group.scales + r % kPanelRows * 2, sizeof(scale));
      const std::byte* tile = group.tiles + k % form.group / kTileCols * form.tile_bytes;
      const float number = number_at(m.type(), tile, r % kPanelRows, k % kTileCols);
      rows[(r - begin) * m.cols() + k] = as_value(number * to_float(scale));
    }
  }
}

}  // namespace

std::int64_t quantised_panel_bytes(WeightType type, std::int64_t cols) {
  const QuantisedForm form = quantised_form(type);
  return whole(cols, form.block_tiles * kTileCols) * form.block_bytes();
}

std::int64_t stored_bytes(WeightType type, std::int64_t rows, std::int64_t cols) {
  return type == WeightType::kBf16 ? rows * cols * static_cast<std::int64_t>(sizeof(bfloat16))
                                   : whole(rows, kPanelRows) * quantised_panel_bytes(type, cols);
}

void quantise_panel(const bfloat16* stored, std::int64_t p, Matrix& m) {
  const WeightType type = m.type();
  const QuantisedForm form = quantised_form(type);
  std::byte* panel = m.quantised_panel(p);
  std::memset(panel, 0, size(quantised_panel_bytes(type, m.cols())));
  const std::int64_t rows = std::min(kPanelRows, m.rows() - p * kPanelRows);
  Group g;
  for (std::int64_t n = 0; n < rows; ++n) {
    for (std::int64_t begin = 0; begin < m.cols(); begin += form.group) {
      const std::int64_t count = std::min(form.group, m.cols() - begin);
      for (std::int64_t k = 0; k < form.group; ++k) {
        g.values[k] = k < count ? to_float(stored[n * m.cols() + begin + k]) : 0.0F;
      }
      type == WeightType::kInt8 ? choose_int8(g, form.group) : choose_int4(g, form.group);
      store(type, g, n, place_of_group(type, panel, begin / form.group));
    }
  }
}

void expand_rows(const Matrix& m, std::int64_t begin, std::int64_t end, bfloat16* rows) { expand(m, begin, end, rows, round_away); }

void expand_rows(const Matrix& m, std::int64_t begin, std::int64_t end, float* rows) {
  expand(m, begin, end, rows, [](float exact) { return exact; });
}

std::string_view name_of(WeightType type) {
  switch (type) {
    case WeightType::kBf16: return "bf16";
    case WeightType::kInt8: return "int8";
    case WeightType::kInt4: return "int4";
  }
  return "?";
}

bool scales_are_valid(WeightType type, const std::byte* panels, std::int64_t num_bytes) {
  const std::int64_t block_bytes = quantised_form(type).block_bytes();
  const unsigned rest = type == WeightType::kInt4 ? 7 : 0;  // bits below the five significant ones
  for (std::int64_t at = 0; at + block_bytes <= num_bytes; at += block_bytes) {
    bfloat16 scales[QuantisedForm::kScaleBytes / sizeof(bfloat16)];
    std::memcpy(scales, panels + at, sizeof(scales));
    for (const bfloat16 scale : scales) {
      const float magnitude = std::abs(to_float(scale));
      const bool fits = magnitude >= kLeast / 256 && magnitude <= kMostScale && (scale.bits & rest) == 0;
      if (scale.bits != 0 && !fits) {  // a NaN fits nowhere
        return false;
      }
    }
  }
  return true;
}

}  // namespace unmask::experts
