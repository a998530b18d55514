// SPDX-License-Identifier: Apache-2.0
// What travels between devices, with ranks as threads: over the shared device, and over NCCL, which on a machine without GPUs is
// the simulator's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "comm/nccl/device_links.h"
#include "comm/nccl/nccl_links.h"
#include "comm/nccl/shared_device_links.h"
#include "comm/threads/thread_world.h"
#include "experts/cuda/device.h"
#include "tests/comm/lost_peer.h"
#ifdef UNMASK_CUDA_SIMULATOR
#include "simulator/nccl_control.h"
#endif

namespace unmask::comm {
namespace {

using experts::cuda::Array;
using Piece = DeviceLinks::Piece;
using testing::HasSubstr;
using threads::ThreadWorld;

enum class Over { kSharedDevice, kNccl };

std::unique_ptr<DeviceLinks> make_links(Communicator& comm, Over over) {
  if (over == Over::kNccl) {
    return std::make_unique<NcclLinks>(comm);
  }
  return std::make_unique<SharedDeviceLinks>(comm);
}

/// One word of a piece says where it comes from, where it goes, in which round, which piece it is and the how-manieth.
std::uint64_t word(std::int64_t from, std::int64_t to, std::int64_t round, std::int64_t piece, std::int64_t i) {
  return static_cast<std::uint64_t>(((((from * 64 + to) * 64 + round) * 8 + piece) << 20) + i);
}

/// Which pieces a rank sends to another one in a round, in words; none at all from and to the idle one.
std::vector<std::int64_t> sizes(std::int64_t from, std::int64_t to, std::int64_t round, std::int64_t num_ranks) {
  std::vector<std::int64_t> words;
  if (from == to || (round % 3 == 1 && (from == num_ranks / 2 || to == num_ranks / 2))) {
    return words;
  }
  const std::int64_t count = (from + 2 * to + round) % 4;
  for (std::int64_t piece = 0; piece < count; ++piece) {
    words.push_back(1 + (from * 7 + to * 13 + round * 5 + piece * 11) % 200);
  }
  return words;
}

/// All pieces between this rank and the others in one direction, in a row, behind each other in memory.
struct Side {
  Array<std::uint64_t> memory;
  std::vector<Piece> pieces;
  std::vector<std::uint64_t> expected;

  Side(std::int64_t rank, std::int64_t num_ranks, std::int64_t round, bool is_out) {
    std::vector<std::int64_t> counts;
    for (std::int64_t peer = 0; peer < num_ranks; ++peer) {
      const std::int64_t from = is_out ? rank : peer, to = is_out ? peer : rank;
      const auto words = sizes(from, to, round, num_ranks);
      for (std::size_t piece = 0; piece < words.size(); ++piece) {
        pieces.push_back({Rank(peer), nullptr, words[piece] * 8});
        for (std::int64_t i = 0; i < words[piece]; ++i) {
          expected.push_back(word(from, to, round, static_cast<std::int64_t>(piece), i));
        }
      }
    }
    memory.grow(std::ssize(expected) + 1);
    auto* next = memory.data();
    for (Piece& piece : pieces) {
      piece.memory = next;
      next += piece.bytes / 8;
    }
  }
};

void upload(Side& side, cudaStream_t stream) {
  experts::cuda::copy(side.memory.data(), side.expected.data(), std::ssize(side.expected), stream);
}
std::vector<std::uint64_t> download(const Side& side, cudaStream_t stream) {
  std::vector<std::uint64_t> found(side.expected.size());
  experts::cuda::copy(found.data(), side.memory.data(), std::ssize(found), stream);
  return found;
}

class DeviceLinksTest : public testing::TestWithParam<std::tuple<Over, std::int64_t>> {
 protected:
  void SetUp() override {
#ifndef UNMASK_CUDA_SIMULATOR
    if (over() == Over::kNccl) {
      GTEST_SKIP() << "NCCL refuses two ranks on one device: tested on the simulator";
    }
#endif
  }
  static Over over() { return std::get<0>(GetParam()); }
  static std::int64_t num_ranks() { return std::get<1>(GetParam()); }
};

TEST_P(DeviceLinksTest, EveryPieceComesWhereItBelongs) {
  ThreadWorld(num_ranks(), Deadline{std::chrono::seconds(20)}).run([&](Communicator& comm) {
    const auto links = make_links(comm, over());
    const experts::cuda::Stream stream = experts::cuda::make_stream();
    const std::int64_t rank = comm.rank().value;
    for (std::int64_t round = 0; round < 9; ++round) {
      Side out(rank, num_ranks(), round, true), in(rank, num_ranks(), round, false);
      upload(out, stream.get());
      links->exchange("a round", out.pieces, in.pieces, stream.get());
      const auto found = download(in, stream.get());
      links->wait(stream.get());
      EXPECT_EQ(found, in.expected) << "rank " << rank << ", round " << round;
    }
  });
}

TEST_P(DeviceLinksTest, WhoSendsMayWriteAgainBehindTheExchange) {
  ThreadWorld(num_ranks(), Deadline{std::chrono::seconds(20)}).run([&](Communicator& comm) {
    const auto links = make_links(comm, over());
    const experts::cuda::Stream stream = experts::cuda::make_stream();
    const std::int64_t rank = comm.rank().value;
    Array<std::int32_t> out(1), in(num_ranks());
    std::vector<Piece> sends, receives;
    for (std::int64_t peer = 0; peer < num_ranks(); ++peer) {
      if (peer != rank) {
        sends.push_back({Rank(peer), out.data(), 4});
        receives.push_back({Rank(peer), in.data() + peer, 4});
      }
    }
    for (std::int32_t round = 0; round < 20; ++round) {
      const std::int32_t mine = static_cast<std::int32_t>(rank) * 1000 + round;
      std::vector<std::int32_t> found(size(num_ranks()), -1);
      experts::cuda::copy(out.data(), &mine, 1, stream.get());
      experts::cuda::copy(in.data(), found.data(), num_ranks(), stream.get());
      links->exchange("a round", sends, receives, stream.get());
      experts::cuda::check(cudaMemsetAsync(out.data(), 0xee, 4, stream.get()), "cudaMemsetAsync");
      experts::cuda::copy(found.data(), in.data(), num_ranks(), stream.get());
      links->wait(stream.get());
      for (std::int64_t peer = 0; peer < num_ranks(); ++peer) {
        EXPECT_EQ(found[size(peer)], peer == rank ? -1 : static_cast<std::int32_t>(peer) * 1000 + round);
      }
    }
  });
}

TEST_P(DeviceLinksTest, ReplaysWhatWasCaptured) {
  ThreadWorld(num_ranks(), Deadline{std::chrono::seconds(20)}).run([&](Communicator& comm) {
    const auto links = make_links(comm, over());
    if (!links->is_capturable()) {
      EXPECT_EQ(links->name(), "shared device");
      return;
    }
    const experts::cuda::Stream stream = experts::cuda::make_stream();
    const std::int64_t rank = comm.rank().value;
    Side out(rank, num_ranks(), 0, true), in(rank, num_ranks(), 0, false);
    experts::cuda::check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    links->exchange("captured", out.pieces, in.pieces, stream.get());
    cudaGraph_t graph = nullptr;
    experts::cuda::check(cudaStreamEndCapture(stream.get(), &graph), "cudaStreamEndCapture");
    cudaGraphExec_t exec = nullptr;
    experts::cuda::check(cudaGraphInstantiate(&exec, graph, 0), "cudaGraphInstantiate");
    const experts::cuda::GraphExec owner(exec);
    experts::cuda::check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    for (std::uint64_t replay = 0; replay < 3; ++replay) {
      for (Side* side : {&out, &in}) {
        for (auto& value : side->expected) {
          value += std::uint64_t{1} << 50;
        }
      }
      upload(out, stream.get());
      experts::cuda::check(cudaGraphLaunch(exec, stream.get()), "cudaGraphLaunch");
      const auto found = download(in, stream.get());
      links->wait(stream.get());
      EXPECT_EQ(found, in.expected) << "rank " << rank << ", replay " << replay;
    }
  });
}

TEST_P(DeviceLinksTest, ARankThatDoesNotComeIsLost) {
  if (num_ranks() < 2) {
    return;  // nobody to wait for
  }
  const auto message = test::lost_peer([&] {
    ThreadWorld(num_ranks(), Deadline{std::chrono::milliseconds(400)}).run([&](Communicator& comm) {
      const auto links = make_links(comm, over());
      const experts::cuda::Stream stream = experts::cuda::make_stream();
      const std::int64_t rank = comm.rank().value;
      if (rank == num_ranks() - 1) {
        std::this_thread::sleep_for(std::chrono::seconds(2));  // dead to the others
        return;
      }
      Array<std::int32_t> memory(2 * num_ranks());
      std::vector<Piece> out, in;
      for (std::int64_t peer = 0; peer < num_ranks(); ++peer) {
        if (peer != rank) {
          out.push_back({Rank(peer), memory.data() + peer, 4});
          in.push_back({Rank(peer), memory.data() + num_ranks() + peer, 4});
        }
      }
      experts::cuda::check(cudaMemsetAsync(memory.data(), 0, memory.bytes(), stream.get()), "cudaMemsetAsync");
      links->exchange("sums to their rows", out, in, stream.get());
      links->wait(stream.get());
    });
  });
  EXPECT_THAT(message, HasSubstr("sums to their rows"));
  EXPECT_THAT(message, HasSubstr("for rank " + std::to_string(num_ranks() - 1)));
}

INSTANTIATE_TEST_SUITE_P(Ranks, DeviceLinksTest,
                         testing::Combine(testing::Values(Over::kSharedDevice, Over::kNccl), testing::Values(1, 2, 3, 5)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param) == Over::kNccl ? "Nccl" : "SharedDevice") +
                                  std::to_string(std::get<1>(test.param));
                         });

TEST(SharedDeviceLinks, FindsRanksThatAreOutOfStep) {
  const auto exchange = [](Communicator& comm, std::string_view operation, std::int64_t bytes) {
    SharedDeviceLinks links(comm);
    Array<std::int32_t> memory(8);
    const Rank peer(1 - comm.rank().value);
    const Piece out{peer, memory.data(), bytes}, in{peer, memory.data() + 4, 8};
    links.exchange(operation, std::span(&out, bytes > 0 ? 1 : 0), std::span(&in, 1), nullptr);
  };
  const auto run = [&](const std::function<void(Communicator&)>& body) {
    return test::lost_peer([&] { ThreadWorld(2, Deadline{std::chrono::seconds(5)}).run(body); });
  };
  EXPECT_THAT(run([&](Communicator& comm) { exchange(comm, comm.is_root() ? "rows" : "sums", 8); }), HasSubstr("out of step"));
  EXPECT_THAT(run([&](Communicator& comm) { exchange(comm, "rows", comm.is_root() ? 8 : 12); }), HasSubstr("8 bytes expected"));
  EXPECT_THAT(run([&](Communicator& comm) { exchange(comm, "rows", comm.is_root() ? 8 : 0); }), HasSubstr("8 bytes expected"));
}

TEST(MakeDeviceLinks, TakesWhatSuitsTheRanks) {
  ThreadWorld(1).run([](Communicator& comm) {
    const auto links = make_device_links(comm);
    EXPECT_EQ(links->name(), "none");
    EXPECT_TRUE(links->is_capturable());
    const experts::cuda::Stream stream = experts::cuda::make_stream();
    links->exchange("nothing", {}, {}, stream.get());
    links->wait(stream.get());
  });
  ThreadWorld(2, Deadline{std::chrono::seconds(5)}).run([](Communicator& comm) { EXPECT_EQ(make_device_links(comm)->name(), "shared device"); });
}

#ifdef UNMASK_CUDA_SIMULATOR
TEST(NcclLinks, AFaultAbortsAndIsToldInNcclsWords) {
  const auto message = test::lost_peer([] {
    ThreadWorld(2, Deadline{std::chrono::milliseconds(500)}).run([](Communicator& comm) {
      NcclLinks links(comm);
      comm.barrier();
      if (comm.is_root()) {
        simulator::fail_next_group(0, ncclRemoteError);
      }
      comm.barrier();
      Array<std::int32_t> memory(2);
      const Rank peer(1 - comm.rank().value);
      const Piece out{peer, memory.data(), 4}, in{peer, memory.data() + 1, 4};
      experts::cuda::check(cudaMemsetAsync(memory.data(), 0, 8, nullptr), "cudaMemsetAsync");
      links.exchange("rows to the experts", std::span(&out, 1), std::span(&in, 1), nullptr);
    });
  });
  EXPECT_THAT(message, HasSubstr("rows to the experts: ncclGroupEnd failed: remote process exited or there was a network error (a fault"));
  EXPECT_EQ(simulator::num_communicators(), 0);
  EXPECT_GE(simulator::num_aborted_at_work(), 2);
}

TEST(NcclLinks, EndsInOrder) {
  const int aborted = simulator::num_aborted_at_work();
  ThreadWorld(3, Deadline{std::chrono::seconds(5)}).run([](Communicator& comm) { NcclLinks links(comm); });
  EXPECT_EQ(simulator::num_communicators(), 0);
  EXPECT_EQ(simulator::num_aborted_at_work(), aborted);
}

TEST(NcclLinks, ARankThatDoesNotStartIsLost) {
  const auto message = test::lost_peer([] {
    ThreadWorld(3, Deadline{std::chrono::milliseconds(400)}).run([](Communicator& comm) {
      if (comm.rank() == Rank(1)) {  // takes part in nothing but the id
        comm.broadcast({}, Rank(0));
        std::this_thread::sleep_for(std::chrono::seconds(2));
        return;
      }
      NcclLinks links(comm);
    });
  });
  EXPECT_THAT(message, HasSubstr("for rank 1"));
  EXPECT_EQ(simulator::num_communicators(), 0);
}
#endif

}  // namespace
}  // namespace unmask::comm
