// SPDX-License-Identifier: Apache-2.0
#include "comm/parcel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>

#include "base/error.h"

namespace unmask::comm {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr ExchangeOptions kOptions{.hidden = 3, .wire = WireType::kBfloat16};
constexpr std::array<float, 9> kRows{0, 1, 2, 3, 4, 5, 6, 7, 8};

Bytes write(const Parcel& parcel) {
  Bytes message(size(parcel_bytes(parcel.num_rows(), parcel.num_pairs(), kOptions)));
  write_parcel(parcel, kRows.data(), kOptions, message.data());
  return message;
}

std::string refusal(const Parcel& parcel, std::int64_t num_held) {
  const Bytes message = write(parcel);
  const ParcelHead head{0, 1, static_cast<std::uint32_t>(parcel.num_rows()), static_cast<std::uint32_t>(parcel.num_pairs())};
  Parcel read;
  std::vector<float> values(size(parcel.num_rows() * kOptions.hidden));
  try {
    read_parcel(message.data(), head, Rank(5), num_held, kOptions, read, values.data());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kPeerLost);
    return error.what();
  }
  return "none";
}

TEST(Parcel, ComesBackAsItWasSent) {
  const Parcel sent{{0, 2}, {2, 1}, {1, 3, 0}, {0.5F, 0.25F, 1.0F}};
  const Bytes message = write(sent);
  EXPECT_EQ(std::ssize(message), 2 * (3 * 2 + 2) + 3 * 6);
  Parcel read;
  std::vector<float> values(6);
  read_parcel(message.data(), {0, 1, 2, 3}, Rank(1), 4, kOptions, read, values.data());
  EXPECT_THAT(values, ElementsAre(0, 1, 2, 6, 7, 8));
  EXPECT_EQ(read.num_experts, sent.num_experts);
  EXPECT_EQ(read.experts, sent.experts);
  EXPECT_EQ(read.weights, sent.weights);
}

TEST(Parcel, RefusesWhatWouldBeSubscriptedWrongly) {
  EXPECT_EQ(refusal({{0, 1}, {1, 2}, {3, 0, 1}, {1, 1, 1}}, 4), "none");
  EXPECT_THAT(refusal({{0, 1}, {1, 2}, {4, 0, 1}, {1, 1, 1}}, 4),
              AllOf(HasSubstr("rank 5"), HasSubstr("row 0 names local expert 4"), HasSubstr("below 4")));
  EXPECT_THAT(refusal({{0, 1}, {1, 2}, {3, 1, 1}, {1, 1, 1}}, 4), HasSubstr("row 1 names local expert 1"));
  EXPECT_THAT(refusal({{0, 1}, {1, 3}, {3, 0, 1}, {1, 1, 1}}, 4), HasSubstr("row 1 claims 3 experts, 2 of 3 are left"));
  EXPECT_THAT(refusal({{0, 1}, {3, 0}, {0, 1, 2}, {1, 1, 1}}, 4), HasSubstr("row 1 claims 0 experts"));
  EXPECT_THAT(refusal({{0, 1}, {1, 1}, {3, 0, 1}, {1, 1, 1}}, 4), HasSubstr("3 experts announced, rows claim 2"));
}

TEST(Pack, RefusesRoutingThatDoesNotAscend) {
  const auto placement = cluster::Placement::even(4, 2);
  std::vector<Parcel> parcels(2);
  const std::array<float, 2> weights{};
  for (const std::array<ExpertId, 2> ids : {std::array{ExpertId(2), ExpertId(1)}, std::array{ExpertId(1), ExpertId(1)},
                                            std::array{ExpertId(1), ExpertId(4)}, std::array{ExpertId(-1), ExpertId(1)}}) {
    EXPECT_THROW(pack({1, 2, ids, weights}, placement, parcels), std::logic_error);
  }
}

}  // namespace
}  // namespace unmask::comm
