// SPDX-License-Identifier: Apache-2.0
#include "comm/parcel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <utility>

#include "base/error.h"

namespace unmask::comm {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// Rank 5 of 6 holds `num_held` experts and two chunks of them.
cluster::Placement placement(std::int64_t num_held) { return {std::vector<Rank>(size(num_held), Rank(5)), 6}; }

Parcel make_parcel(std::vector<std::uint16_t> num_experts, std::vector<std::uint16_t> experts) {
  Parcel parcel;
  parcel.num_experts = std::move(num_experts);
  parcel.weights.assign(experts.size(), 0.5F);
  parcel.experts = std::move(experts);
  return parcel;
}

Parcel send(const Parcel& parcel, std::int64_t num_held) {
  Bytes message(size(routing_bytes(parcel.num_rows(), parcel.num_pairs())));
  write_routing(parcel, message.data());
  const ParcelHead head{0, 1, static_cast<std::uint32_t>(parcel.num_rows()), static_cast<std::uint32_t>(parcel.num_pairs())};
  const ChunkGrid grid(placement(num_held), 2);
  Parcel read;
  read_routing(message.data(), head, Rank(3), Rank(5), grid, num_held, read);
  return read;
}

std::string refusal(const Parcel& parcel, std::int64_t num_held) {
  try {
    send(parcel, num_held);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kPeerLost);
    return error.what();
  }
  return "none";
}

TEST(Parcel, ComesBackAsItWasSent) {
  const Parcel sent = make_parcel({2, 1, 1}, {0, 3, 1, 2});
  EXPECT_EQ(routing_bytes(3, 4), 3 * 2 + 4 * 6);
  const Parcel read = send(sent, 4);
  EXPECT_EQ(read.num_experts, sent.num_experts);
  EXPECT_EQ(read.experts, sent.experts);
  EXPECT_EQ(read.weights, sent.weights);
  EXPECT_THAT(read.chunk_begin, ElementsAre(0, 2, 3));
}

TEST(Parcel, RefusesWhatWouldBeSubscriptedWrongly) {
  EXPECT_EQ(refusal(make_parcel({2, 1}, {0, 3, 1}), 4), "none");
  EXPECT_THAT(refusal(make_parcel({1, 2}, {4, 0, 1}), 4),
              AllOf(HasSubstr("rank 3"), HasSubstr("row 0 names local expert 4"), HasSubstr("below 4")));
  EXPECT_THAT(refusal(make_parcel({1, 2}, {3, 1, 1}), 4), HasSubstr("row 1 names local expert 1"));
  EXPECT_THAT(refusal(make_parcel({1, 3}, {3, 0, 1}), 4), HasSubstr("row 1 claims 3 experts, 2 of 3 are left"));
  EXPECT_THAT(refusal(make_parcel({3, 0}, {0, 1, 2}), 4), HasSubstr("row 1 claims 0 experts"));
  EXPECT_THAT(refusal(make_parcel({1, 1}, {0, 1, 2}), 4), HasSubstr("3 experts announced, rows claim 2"));
  EXPECT_THAT(refusal(make_parcel({1, 1}, {2, 1}), 4), HasSubstr("row 1 of chunk 0 comes after one of chunk 1"));
}

TEST(Packer, PutsRowsInTheOrderOfTheirFirstChunk) {
  const auto both = cluster::Placement::even(8, 2);  // experts 0 to 3 on rank 0, 4 to 7 on rank 1, two chunks each
  const ChunkGrid grid(both, 2);
  Packer packer(both, grid);
  std::vector<Parcel> parcels(2);
  const std::array ids{ExpertId(2), ExpertId(3), ExpertId(0), ExpertId(6), ExpertId(3), ExpertId(4)};
  const std::array<float, 6> weights{1, 2, 3, 4, 5, 6};
  packer.pack({3, 2, ids, weights}, parcels);
  EXPECT_THAT(parcels[0].rows, ElementsAre(1, 0, 2));
  EXPECT_THAT(parcels[0].num_experts, ElementsAre(1, 2, 1));
  EXPECT_THAT(parcels[0].experts, ElementsAre(0, 2, 3, 3));
  EXPECT_THAT(parcels[0].weights, ElementsAre(3, 1, 2, 5));
  EXPECT_THAT(parcels[0].places, ElementsAre(2, 0, 1, 4));
  EXPECT_THAT(parcels[0].chunk_begin, ElementsAre(0, 1, 3));
  EXPECT_THAT(parcels[1].rows, ElementsAre(2, 1));
  EXPECT_THAT(parcels[1].experts, ElementsAre(0, 2));
}

TEST(Packer, RefusesRoutingThatDoesNotAscend) {
  const auto both = cluster::Placement::even(4, 2);
  const ChunkGrid grid(both, 1);
  Packer packer(both, grid);
  std::vector<Parcel> parcels(2);
  const std::array<float, 2> weights{};
  for (const std::array<ExpertId, 2> ids : {std::array{ExpertId(2), ExpertId(1)}, std::array{ExpertId(1), ExpertId(1)},
                                            std::array{ExpertId(1), ExpertId(4)}, std::array{ExpertId(-1), ExpertId(1)}}) {
    EXPECT_THROW(packer.pack({1, 2, ids, weights}, parcels), std::logic_error);
  }
}

}  // namespace
}  // namespace unmask::comm
