// SPDX-License-Identifier: Apache-2.0
// attend(): ragged sequences and tasks, heads in groups, all sizes of heads; against double precision, and each row's bits its own.
#include <bit>

#include <gtest/gtest.h>

#include "product_testing.h"

namespace unmask::experts::cuda {
namespace {

struct Shape {
  std::int64_t heads, kv_heads, dim;
};

/// Sequences with keys and values, rows that ask, and what comes out.
struct Attending {
  Shape shape;
  Precision precision;
  std::vector<std::int32_t> lengths, rows;  ///< per sequence
  std::int64_t layer = 1;
  float scale = 0.25F;
  std::vector<float> q;
  std::vector<std::vector<float>> keys, values;  ///< [layers 2, kv_heads, length + 3, dim]; the last three positions are not numbers

  Attending(const Shape& s, Precision p, std::vector<std::int32_t> lengths_, std::vector<std::int32_t> rows_)
      : shape(s), precision(p), lengths(std::move(lengths_)), rows(std::move(rows_)) {
    std::int64_t all = 0;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      all += rows[i];
      keys.push_back(stored(lengths[i], static_cast<unsigned>(10 + i)));
      values.push_back(stored(lengths[i], static_cast<unsigned>(50 + i)));
    }
    q = random_values(all * shape.heads * shape.dim, 3);
  }

  std::int64_t head_stride(std::size_t sequence) const { return (lengths[sequence] + 3) * shape.dim; }

  std::vector<float> stored(std::int32_t length, unsigned seed) const {
    std::vector<float> made = random_values(2 * shape.kv_heads * (length + 3) * shape.dim, seed);
    for (std::size_t i = 0; i < made.size(); ++i) {
      if (static_cast<std::int64_t>(i) / shape.dim % (length + 3) >= length) {
        made[i] = NAN;
      }
    }
    return made;
  }

  /// Tasks of at most `task_rows` rows; two more than there are could be.
  std::vector<float> run(std::int32_t task_rows = static_cast<std::int32_t>(kAttentionRows)) const {
    DeviceValues device_q(q, precision);
    DeviceValues out(static_cast<std::int64_t>(q.size()), precision);
    std::vector<DeviceValues> stores;
    std::vector<DeviceSequence> sequences;
    std::vector<AttentionTask> tasks;
    std::int32_t begin = 0;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      stores.emplace_back(keys[i], precision);
      stores.emplace_back(values[i], precision);
      sequences.push_back({.keys = stores[2 * i].data(), .values = stores[2 * i + 1].data(), .layer_stride = shape.kv_heads * head_stride(i),
                           .head_stride = head_stride(i), .length = lengths[i], .first_position = 0, .row_begin = begin, .row_end = begin + rows[i]});
      for (std::int32_t r = begin; r < begin + rows[i]; r += task_rows) {
        tasks.push_back({static_cast<std::int32_t>(i), r, std::min(r + task_rows, begin + rows[i])});
      }
      begin += rows[i];
    }
    const auto count = static_cast<std::int32_t>(tasks.size());
    tasks.push_back({-1, -1, -1});
    tasks.push_back({-1, -1, -1});
    Array<AttentionTask> device_tasks = on_device(tasks);
    Array<DeviceSequence> device_sequences = on_device(sequences);
    Array<std::int32_t> real = on_device(std::vector<std::int32_t>{count});
    attend({.q = device_q, .num_heads = shape.heads, .num_kv_heads = shape.kv_heads, .head_dim = shape.dim, .layer = layer,
            .num_tasks = {real.data(), count + 2}, .tasks = device_tasks.data(), .sequences = device_sequences.data(), .scale = scale, .out = out},
           nullptr);
    return out.values();
  }
};

/// In double precision. What may be off, per output of weights w_i = e_i / sum, scores s_i and values v_i: an error d of a score changes
/// e_i by the factor 1 + d; scores are sums of dim products; weights are rounded to bfloat16 (2^-9) there, sums of `length` terms.
void expect_right(const Attending& a, const std::vector<float>& found) {
  const double half_unit = std::ldexp(1.0, -24);
  std::int64_t row = 0;
  for (std::size_t sequence = 0; sequence < a.lengths.size(); ++sequence) {
    const std::int64_t length = a.lengths[sequence];
    for (std::int64_t r = 0; r < a.rows[sequence]; ++r, ++row) {
      for (std::int64_t h = 0; h < a.shape.heads; ++h) {
        const std::int64_t kv = (a.layer * a.shape.kv_heads + h / (a.shape.heads / a.shape.kv_heads)) * a.head_stride(sequence);
        const float* q = a.q.data() + (row * a.shape.heads + h) * a.shape.dim;
        std::vector<double> scores;
        double top = -INFINITY, score_error = 0;
        for (std::int64_t i = 0; i < length; ++i) {
          const ExactSum sum = exact_product(q, a.keys[sequence].data() + kv + i * a.shape.dim, a.shape.dim);
          scores.push_back(sum.value * static_cast<double>(a.scale));
          top = std::max(top, scores.back());
          score_error = std::max(score_error, (sum.bound(a.shape.dim) + 4 * half_unit * sum.size) * static_cast<double>(a.scale));
        }
        double total = 0;
        for (double& s : scores) {
          s = std::exp(s - top);
          total += s;
        }
        // Weights: score, top, exponential; then their sum and the corrections from block to block.
        const double weight_error = 2 * score_error + half_unit * static_cast<double>(2 * length + 64) +
                                    (a.precision == Precision::kBfloat16 ? std::ldexp(1.0, -9) : 0.0);
        for (std::int64_t d = 0; d < a.shape.dim; ++d) {
          ExactSum sum;
          for (std::int64_t i = 0; i < length; ++i) {
            sum.add(scores[static_cast<std::size_t>(i)] / total * static_cast<double>(a.values[sequence][static_cast<std::size_t>(kv + i * a.shape.dim + d)]));
          }
          const float y = found[static_cast<std::size_t>((row * a.shape.heads + h) * a.shape.dim + d)];
          ASSERT_NEAR(y, sum.value, weight_error * sum.size + rounding(sum.value, a.precision) * 1.01)
              << "sequence " << sequence << " row " << r << " head " << h << " value " << d;
        }
      }
    }
  }
}

TEST(Attention, MatchesDoublePrecision) {
  const Shape shapes[] = {{2, 2, 32}, {4, 2, 64}, {2, 1, 128}, {1, 1, 256}, {2, 2, 8}, {3, 1, 80}, {2, 2, 136}};
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    for (const Shape& shape : shapes) {
      SCOPED_TRACE(testing::Message() << "heads " << shape.heads << " of " << shape.kv_heads << " dim " << shape.dim);
      const Attending a(shape, precision, {1, 64, 65, 150, 3}, {1, 17, 0, 70, 3});
      expect_right(a, a.run());
    }
  }
}

TEST(Attention, NoTasksAreNothingToDo) {
  const Attending a({2, 2, 32}, Precision::kBfloat16, {5}, {0});
  EXPECT_TRUE(a.run().empty());
}

TEST(Attention, LargeScoresDoNotOverflow) {
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    Attending a({1, 1, 64}, precision, {130}, {5});
    a.scale = 40;
    for (const float y : a.run()) {
      EXPECT_TRUE(std::isfinite(y));
    }
  }
}

TEST(Attention, ARowsBitsAreItsOwn) {
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    const Attending a({2, 1, 64}, precision, {150, 40}, {70, 9});
    const std::vector<float> all = a.run();
    for (const std::int32_t task_rows : {1, 3, 16, 33}) {
      EXPECT_EQ(a.run(task_rows), all) << task_rows << " rows a task";
    }
    Attending alone({2, 1, 64}, precision, {150}, {1});
    for (const std::int64_t row : {0, 15, 16, 69}) {
      alone.q.assign(a.q.begin() + row * 128, a.q.begin() + (row + 1) * 128);
      EXPECT_EQ(alone.run(), std::vector<float>(all.begin() + row * 128, all.begin() + (row + 1) * 128)) << "row " << row;
    }
  }
}

}  // namespace
}  // namespace unmask::experts::cuda
