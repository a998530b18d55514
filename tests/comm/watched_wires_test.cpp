// SPDX-License-Identifier: Apache-2.0
#include "comm/watched_wires.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "base/error.h"
#include "base/thread_team.h"
#include "base/checksum.h"
#include "comm/exchange.h"
#include "comm/lane_communicator.h"
#include "comm/threads/hub.h"
#include "comm/threads/thread_world.h"
#include "tests/comm/lost_peer.h"

namespace unmask::comm {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using test::lost_peer;

/// Damages one byte of one message on its way out.
class DamagingWires final : public PointToPoint {
 public:
  struct Damage {
    Lane lane;
    int message;  ///< on that lane, counted from 0
    std::size_t byte;
  };
  DamagingWires(std::unique_ptr<PointToPoint> wires, const Damage& damage) : wires_(std::move(wires)), damage_(damage) {}

  const JobView& job() const override { return wires_->job(); }
  void set_deadline(Deadline deadline) override { wires_->set_deadline(deadline); }
  std::string_view transport() const override { return wires_->transport(); }
  std::unique_ptr<Operation> start_send(Lane lane, Rank to, std::span<const std::byte> bytes) override {
    Bytes copy(bytes.begin(), bytes.end());
    if (lane == damage_.lane && sent_++ == damage_.message) {
      copy.at(damage_.byte) ^= std::byte{0x40};
    }
    return wires_->start_send(lane, to, copy);  // this transport copies
  }
  std::unique_ptr<Operation> start_receive(Lane lane, Rank from, std::span<std::byte> bytes) override {
    return wires_->start_receive(lane, from, bytes);
  }
  std::optional<Incoming> probe(Lane lane) override { return wires_->probe(lane); }
  std::int64_t max_probed_bytes() const override { return wires_->max_probed_bytes(); }
  void rest(std::chrono::microseconds at_most) override { wires_->rest(at_most); }
  [[noreturn]] void abort(int exit_code) override {
    wires_->abort(exit_code);
    std::terminate();
  }

 private:
  std::unique_ptr<PointToPoint> wires_;
  Damage damage_;
  int sent_ = 0;
};

/// Two ranks, of which rank 1 sends with damage; what rank 0 found.
std::string with_damage(const DamagingWires::Damage& damage, Verification verification, const std::function<void(Communicator&)>& body) {
  const auto hub = std::make_shared<threads::Hub>(2, Deadline{milliseconds(300)});
  const auto zero = make_communicator(threads::make_wires(hub, Rank(0)));
  const auto one = make_communicator(std::make_unique<DamagingWires>(threads::make_wires(hub, Rank(1)), damage));
  zero->set_verification(verification);
  one->set_verification(verification);
  std::thread other([&] { lost_peer([&] { body(*one); }); });
  const std::string found = lost_peer([&] { body(*zero); });
  other.join();
  return found;
}

Bytes hundred_bytes() { return Bytes(100, std::byte{7}); }

TEST(VerifyMessages, FindsOneByteAndNamesTheSender) {
  for (const std::size_t byte : {std::size_t{0}, std::size_t{41}, std::size_t{99}}) {
    Bytes seen;
    const auto gather = [&](Communicator& comm) {
      auto all = comm.all_gather(hundred_bytes());
      seen = comm.is_root() ? all[1] : seen;
    };
    EXPECT_EQ(with_damage({Lane::kControl, 1, byte}, Verification::kOff, gather), "none");
    EXPECT_NE(seen, hundred_bytes()) << "the damage is real";
    // Of two messages each has its trailer: message 2 is the second one's payload.
    EXPECT_THAT(with_damage({Lane::kControl, 2, byte}, Verification::kOn, gather),
                AllOf(HasSubstr("message 2 from rank 1 (host "), HasSubstr("lane control, 100 bytes"), HasSubstr("checksum")));
  }
}

TEST(VerifyMessages, LetsGoodOnesPassOnEveryLane) {
  threads::ThreadWorld world(3);
  world.run([](Communicator& comm) {
    comm.set_verification(Verification::kOn);
    EXPECT_EQ(comm.all_gather(hundred_bytes())[2], hundred_bytes());
    EXPECT_EQ(comm.broadcast(comm.is_root() ? hundred_bytes() : Bytes{}, Rank(0)), hundred_bytes());
    comm.post(Rank(0), hundred_bytes());
    comm.post(Rank(0), {});
    for (int found = 0; comm.is_root() && found < 6;) {
      const auto posted = comm.poll();
      found += posted ? 1 : 0;
    }
    comm.barrier();
  });
}

TEST(Checksum, ChangesWithEveryBitAndWithTheLength) {
  Bytes bytes(75, std::byte{0});
  const auto plain = checksum(bytes);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte(1U << (bit % 8));
    EXPECT_NE(checksum(bytes), plain) << bit;
    bytes[bit / 8] ^= std::byte(1U << (bit % 8));
  }
  EXPECT_NE(checksum(std::span(bytes).first(74)), plain);
}

// A head says how much comes, so each of its bytes is tried. None may crash, or hang beyond the deadline.
TEST(ExchangeArrivals, ADamagedHeadEndsTheExchangeOrChangesAVote) {
  const auto exchange_once = [](Communicator& comm) {
    const auto placement = cluster::Placement::even(4, 2);
    ThreadTeam team(1);
    const auto exchange = make_exchange(comm, placement, team, {.hidden = 8});
    const std::vector<float> rows(16, 1.0F);
    const std::vector<ExpertId> ids{ExpertId(0), ExpertId(2), ExpertId(1), ExpertId(3)};
    const std::vector<float> weights(4, 0.5F);
    exchange->dispatch(rows, {.num_rows = 2, .top_k = 2, .ids = ids, .weights = weights}, {.vote = Vote::kWork});
    exchange->arrive();
    std::vector<float> slots;
    for (std::int64_t chunk = 0; chunk < exchange->num_chunks(); ++chunk) {
      const auto work = exchange->receive(chunk);
      slots.resize(size(work.num_slots * 8));
      exchange->give_back(chunk, slots);
    }
    std::vector<float> sums(16);
    exchange->combine(sums);
  };
  EXPECT_EQ(with_damage({Lane::kDispatch, 1000, 0}, Verification::kOff, exchange_once), "none");
  for (std::size_t byte = 4; byte < 16; ++byte) {  // the first four are votes
    EXPECT_NE(with_damage({Lane::kDispatch, 0, byte}, Verification::kOff, exchange_once), "none") << byte;
  }
}

TEST(Vigil, ARankThatWorksIsWaitedFor) {
  threads::ThreadWorld world(3, {milliseconds(400)});
  world.run([](Communicator& comm) {
    for (int i = 0; comm.rank() == Rank(2) && i < 60; ++i) {
      std::this_thread::sleep_for(milliseconds(20));
      comm.works();
    }
    comm.barrier();
  });
}

TEST(Vigil, TheSilentRankIsNamedAlsoByThoseWhoWaitForAnother) {
  threads::ThreadWorld world(3, {milliseconds(200)});
  const auto silent = world.communicator(Rank(2));
  const auto wait_for = [&](Rank me, Rank peer) {
    const auto comm = world.communicator(me);
    std::byte byte{};
    const auto operation = comm->wires().start_receive(Lane::kControl, peer, std::span(&byte, 1));
    return lost_peer([&] {
      for (int i = 0; i < 2000 && !operation->test(); ++i) {
        comm->waits("a test", peer, milliseconds(i));
        std::this_thread::sleep_for(milliseconds(1));
      }
    });
  };
  std::string first, second;
  std::thread other([&] { second = wait_for(Rank(1), Rank(2)); });
  first = wait_for(Rank(0), Rank(1));
  other.join();
  EXPECT_THAT(second, HasSubstr("for rank 2 "));
  EXPECT_THAT(first, testing::AnyOf(HasSubstr("for rank 2 "), HasSubstr("rank 1 (host")));  // rank 1 may give up, and leave, first
}

TEST(Vigil, RanksThatAllWaitDoNotWaitForEver) {
  threads::ThreadWorld world(2, {milliseconds(100)});
  world.run([](Communicator& comm) {
    const Rank peer(1 - comm.rank().value);
    EXPECT_THAT(lost_peer([&] {
                  for (int i = 0; i < 2000; ++i) {
                    comm.waits("what nobody sends", peer, milliseconds(i));
                    std::this_thread::sleep_for(milliseconds(1));
                  }
                }),
                HasSubstr("what nobody sends"));
  });
}

}  // namespace
}  // namespace unmask::comm
