// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "base/aligned_buffer.h"
#include "base/bfloat16.h"
#include "base/checked_math.h"
#include "base/error.h"
#include "base/random.h"
#include "base/thread_team.h"
#include "base/types.h"

namespace unmask {
namespace {

TEST(Error, RequireThrowsWithCodeAndText) {
  try {
    require(false, ExitCode::kBadInput, "expected {}, found {}", 3, "four");
    FAIL() << "require did not throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::kBadInput);
    EXPECT_STREQ(e.what(), "expected 3, found four");
  }
}

TEST(Error, CheckNamesExpressionAndPlace) {
  try {
    UNMASK_CHECK(1 + 1 == 3, "sum = {}", 2);
    FAIL() << "check did not throw";
  } catch (const std::logic_error& e) {
    EXPECT_NE(std::string(e.what()).find("base_test.cpp"), std::string::npos);
    EXPECT_NE(std::string(e.what()).find("1 + 1 == 3 does not hold (sum = 2)"), std::string::npos);
  }
}

TEST(Bfloat16, RoundsToNearestEven) {
  EXPECT_EQ(to_bfloat16(1.0F).bits, 0x3f80);
  EXPECT_EQ(to_bfloat16(1.0F + 1.0F / 256).bits, 0x3f80);         // a tie: down to even
  EXPECT_EQ(to_bfloat16(1.0F + 3.0F / 256).bits, 0x3f82);         // a tie: up to even
  EXPECT_EQ(to_bfloat16(1.0F + 1.0F / 256 + 1e-6F).bits, 0x3f81);
  EXPECT_EQ(to_bfloat16(-0.0F).bits, 0x8000);
  EXPECT_TRUE(std::isinf(round_to_bfloat16(std::numeric_limits<float>::max())));
  EXPECT_TRUE(std::isnan(round_to_bfloat16(std::numeric_limits<float>::quiet_NaN())));
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {  // every bfloat16 that is a number comes back as itself
    const bfloat16 x{static_cast<std::uint16_t>(bits)};
    if (!std::isnan(to_float(x))) {
      EXPECT_EQ(to_bfloat16(to_float(x)).bits, x.bits);
    }
  }
}

TEST(CheckedMath, FindsOverflow) {
  constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(checked_add(kMax - 1, 1), kMax);
  EXPECT_EQ(checked_add(kMax, 1), std::nullopt);
  EXPECT_EQ(checked_mul(kMax / 2, 2), kMax - 1);
  EXPECT_EQ(checked_mul(1ULL << 32, 1ULL << 32), std::nullopt);
}

TEST(Types, NarrowRefusesWhatDoesNotFit) {
  EXPECT_EQ(narrow<std::int32_t>(std::int64_t{7}), 7);
  EXPECT_THROW(narrow<std::int32_t>(std::int64_t{1} << 40), std::logic_error);
  EXPECT_THROW(narrow<std::uint32_t>(-1), std::logic_error);
}

TEST(AlignedBuffer, IsAlignedAndGrows) {
  AlignedBuffer<float> buffer(3);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
  buffer.grow(1000);
  EXPECT_EQ(buffer.count(), 1000);
  buffer.grow(10);
  EXPECT_EQ(buffer.count(), 1000);
  EXPECT_EQ(AlignedBuffer<float>(0).count(), 0);
}

TEST(Philox, MatchesPublishedVectors) {  // known answers of the Random123 distribution (kat_vectors, philox4x32 10)
  const std::array<std::uint32_t, 4> zero = philox({0, 0, 0, 0}, {0, 0});
  EXPECT_EQ(zero, (std::array<std::uint32_t, 4>{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U}));
  const std::array<std::uint32_t, 4> ones = philox({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U});
  EXPECT_EQ(ones, (std::array<std::uint32_t, 4>{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU}));
}

class ThreadTeamTest : public testing::TestWithParam<int> {};

TEST_P(ThreadTeamTest, RunsEveryMemberAndEveryIndexOnce) {
  ThreadTeam team(GetParam());
  for (int round = 0; round < 200; ++round) {
    std::vector<std::atomic<int>> members(static_cast<std::size_t>(team.size()));
    team.run([&](int member) { ++members[static_cast<std::size_t>(member)]; });
    for (const auto& m : members) {
      EXPECT_EQ(m, 1);
    }
    std::vector<std::atomic<int>> items(37);
    team.for_each(37, [&](std::int64_t i) { ++items[size(i)]; });
    for (const auto& i : items) {
      EXPECT_EQ(i, 1);
    }
  }
  team.for_each(0, [](std::int64_t) { FAIL() << "nothing to do"; });
}

TEST_P(ThreadTeamTest, PassesOnAnExceptionAndGoesOn) {
  ThreadTeam team(GetParam());
  for (int round = 0; round < 20; ++round) {
    EXPECT_THROW(team.run([](int) { fail(ExitCode::kIo, "disk full"); }), Error);
    std::atomic<int> done = 0;
    team.run([&](int) { ++done; });
    EXPECT_EQ(done, team.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadTeamTest, testing::Values(1, 2, 3, 8));

}  // namespace
}  // namespace unmask
