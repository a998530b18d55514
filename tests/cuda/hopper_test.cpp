// SPDX-License-Identifier: Apache-2.0
// What the simulator makes of Hopper's barriers, copies of boxes and products of warp groups, and what it says of their wrong use.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experts/cuda/hopper.cuh"
#include "experts/cuda/instructions.cuh"
#include "experts/cuda/launch.cuh"
#include "experts/cuda/tensor_map.h"
#include "product_testing.h"
#include "simulator/block.h"

namespace unmask::experts::cuda {
namespace {

using testing::HasSubstr;

enum class Wrong { kNothing, kManyArrivals, kFewBytes, kNoBegin, kOtherSwizzle, kNoFence, kOtherPlace, kNoWait };

constexpr int kRows = 64, kInputs = 64;  // of both operands: what one box brings

/// Where value k of row r lies: pieces of 8 values are exchanged, other ones in each of 8 rows.
int place_of(int r, int k) { return r * kInputs + ((k / 8) ^ (r % 8)) * 8 + k % 8; }

/// y = a b^T of rows [first, first + 64) and inputs [k, k + 64) of a tensor a, and of b, by cp.async; boxes: what was copied of a, as it lies.
__global__ void multiply_kernel(const CUtensorMap map, int first, int k, const bfloat16* b, float* y, bfloat16* boxes, Wrong wrong) {
  auto* const memory = dynamic_shared<std::byte>();
  std::byte* const a_rows = memory + (1024 - shared_address(memory) % 1024) % 1024 + (wrong == Wrong::kOtherPlace ? 128 : 0);
  std::byte* const b_rows = a_rows + kRows * kInputs * 2;
  auto* const full = reinterpret_cast<Barrier*>(b_rows + kRows * kInputs * 2);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    init_barrier(full, 1);
    publish_barriers();
  }
  __syncthreads();
  if (thread == 0) {
    arrive_for_bytes(full, kRows * kInputs * 2 + (wrong == Wrong::kFewBytes ? 2 : 0));
    copy_box(a_rows, map, {{k, first, 0, 0, 0}}, full);
    if (wrong == Wrong::kManyArrivals) {
      arrive(full);
    }
  }
  for (int i = thread; i < kRows * kInputs / 8; i += static_cast<int>(blockDim.x)) {
    copy_16(b_rows + place_of(i / 8, i % 8 * 8) * 2, b + i * 8, Fill::kCopy);
  }
  commit_copies();
  wait_copies<0>();
  if (wrong != Wrong::kNoFence) {
    fence_async();
  }
  __syncthreads();
  wait_phase(full, 0);
  float d[32] = {};
  if (wrong != Wrong::kNoBegin) {
    begin_products();
  }
  for (int step = 0; step < kInputs; step += 16) {
    multiply_group(d, describe_rows(a_rows, step) & (wrong == Wrong::kOtherSwizzle ? ~(std::uint64_t{1} << 62U) : ~std::uint64_t{0}),
                   describe_rows(b_rows, step));
  }
  commit_products();
  if (wrong == Wrong::kNoWait) {
    return;
  }
  wait_products<0>();
  for (int i = 0; i < 32; ++i) {
    const int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + thread % 4 * 2 + i % 2;
    y[row * kRows + column] = d[i];
  }
  for (int i = thread; i < kRows * kInputs; i += static_cast<int>(blockDim.x)) {
    boxes[i] = reinterpret_cast<const bfloat16*>(a_rows)[i];
  }
}

class HopperTest : public testing::Test {
 protected:
  static constexpr std::int64_t kOfA = 100, kInputsOfA = 88;  // a box may reach past both

  void run(int first, int k, Wrong wrong = Wrong::kNothing) {
    const auto device_a = on_device(rounded(a_)), device_b = on_device(rounded(b_));
    const CUtensorMap map = make_tensor_map(device_a.data(), {.size = {kInputsOfA, kOfA, 1, 1, 1},
                                                              .stride = {1, kInputsOfA, kOfA * kInputsOfA, kOfA * kInputsOfA, kOfA * kInputsOfA},
                                                              .box = {kInputs, kRows, 1, 1, 1}});
    launch(multiply_kernel, {.blocks = 1, .threads = 128, .shared_bytes = 1024 + 128 + 2 * kRows * kInputs * 2 + 8}, nullptr, map, first, k,
           static_cast<const bfloat16*>(device_b.data()), y_.data(), boxes_.data(), wrong);
  }
  std::string fault_of(Wrong wrong) {
    try {
      run(0, 0, wrong);
    } catch (const simulator::Fault& fault) {
      return fault.what();
    }
    return "none";
  }
  float at(int row, int k) const {
    return row < kOfA && k < kInputsOfA ? a_[static_cast<std::size_t>(row * kInputsOfA + k)] : 0.0F;
  }

  std::vector<float> a_ = random_values(kOfA * kInputsOfA, 1), b_ = random_values(kRows * kInputs, 2);
  Array<float> y_{kRows * kRows};
  Array<bfloat16> boxes_{kRows * kInputs};
};

TEST_F(HopperTest, BoxesAreSwizzledAndEndWithZeros) {
  for (const auto& [first, k] : {std::pair(0, 0), {8, 0}, {50, 0}, {3, 32}, {90, 64}}) {
    run(first, k);
    const auto found = from_device(boxes_.data(), kRows * kInputs);
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < kInputs; ++i) {
        ASSERT_EQ(to_float(found[static_cast<std::size_t>(place_of(r, i))]), at(first + r, k + i)) << first << " " << k << " row " << r << " input " << i;
      }
    }
  }
}

TEST_F(HopperTest, ProductsReadWhatDescriptorsName) {
  run(20, 16);
  const auto found = from_device(y_.data(), kRows * kRows);
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kRows; ++column) {
      ExactSum sum;
      for (int k = 0; k < kInputs; ++k) {
        sum.add(static_cast<double>(at(20 + row, 16 + k)) * static_cast<double>(b_[static_cast<std::size_t>(column * kInputs + k)]));
      }
      ASSERT_NEAR(found[static_cast<std::size_t>(row * kRows + column)], sum.value, sum.bound(kInputs)) << row << " " << column;
    }
  }
}

TEST_F(HopperTest, WrongUseIsTold) {
  EXPECT_EQ(fault_of(Wrong::kNothing), "none");
  EXPECT_THAT(fault_of(Wrong::kFewBytes), testing::AllOf(HasSubstr("stands still"), HasSubstr("mbarrier.try_wait at hopper_test.cpp")));
  EXPECT_THAT(fault_of(Wrong::kNoBegin), HasSubstr("wgmma.fence"));
  EXPECT_THAT(fault_of(Wrong::kOtherSwizzle), HasSubstr("descriptor"));
  EXPECT_THAT(fault_of(Wrong::kNoFence), HasSubstr("has not fenced"));
  EXPECT_THAT(fault_of(Wrong::kOtherPlace), HasSubstr("does not begin where the swizzle does"));
  EXPECT_THAT(fault_of(Wrong::kNoWait), HasSubstr("without waiting"));
  EXPECT_EQ(fault_of(Wrong::kNothing), "none");
  EXPECT_THAT(fault_of(Wrong::kManyArrivals), HasSubstr("more arrivals"));
}

TEST_F(HopperTest, TensorsThatCannotBeAreRefused) {
  const TensorShape good{.size = {64, 8, 1, 1, 1}, .stride = {1, 64, 512, 512, 512}, .box = {64, 8, 1, 1, 1}};
  const auto device_a = on_device(rounded(a_));
  EXPECT_NO_THROW(make_tensor_map(device_a.data(), good));
  TensorShape odd = good;
  odd.stride[1] = 60;
  EXPECT_ANY_THROW(make_tensor_map(device_a.data(), odd));
  TensorShape wide = good;
  wide.box[0] = 128;
  EXPECT_ANY_THROW(make_tensor_map(device_a.data(), wide));
  EXPECT_ANY_THROW(make_tensor_map(device_a.data() + 1, good));
}

}  // namespace
}  // namespace unmask::experts::cuda
