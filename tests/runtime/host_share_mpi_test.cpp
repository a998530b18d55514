// SPDX-License-Identifier: Apache-2.0
// Ranks of this host that share weights, over MPI and as threads; and those that cannot.
#include "runtime/host_share.h"

#include <sys/resource.h>

#include <cstring>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/byte_stream.h"
#include "comm/threads/thread_world.h"
#include "runtime/model.h"
#include "tests/comm/mpi_test_main.h"

namespace unmask::runtime {
namespace {

using comm::Communicator;

constexpr std::uint64_t kBytes = 3 << 20;
const std::filesystem::path kData = std::filesystem::path(UNMASK_SOURCE_DIR) / "tests/data";

/// Each rank fills its part of the memory, then all read all of it.
void expect_shared(Communicator& comm) {
  const WeightShare share = share_on_host(comm, kBytes, nullptr);
  EXPECT_EQ(share.memory != nullptr, comm.num_ranks() > 1);
  EXPECT_EQ(share.num_parts, comm.num_ranks());
  EXPECT_EQ(share.part, comm.rank().value);
  if (share.memory != nullptr) {
    const auto bytes = share.memory->bytes();
    for (std::size_t i = comm.rank().at(); i < bytes.size(); i += size(comm.num_ranks())) {
      bytes[i] = std::byte(i % 251);
    }
    comm.barrier();
    share.memory->forbid_writes();
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      wrong += bytes[i] == std::byte(i % 251) ? 0U : 1U;
    }
    EXPECT_EQ(wrong, 0U);
  }
  comm.barrier();
}

TEST(HostShare, OneCopyForAllProcesses) { expect_shared(comm::test::world()); }

TEST(HostShare, OneCopyForAllThreads) {
  if (comm::test::world().is_root()) {
    for (const std::int64_t ranks : {1, 2, 5}) {
      comm::threads::ThreadWorld(ranks).run([](Communicator& comm) { expect_shared(comm); });
    }
  }
  comm::test::world().barrier();
}

/// A limit of this process for as long as the object lives.
class Limit {
 public:
  Limit(int resource, rlim_t value) : resource_(resource) {
    EXPECT_EQ(::getrlimit(kind(), &before_), 0);
    const rlimit now{.rlim_cur = value, .rlim_max = before_.rlim_max};
    EXPECT_EQ(::setrlimit(kind(), &now), 0);
  }
  ~Limit() { EXPECT_EQ(::setrlimit(kind(), &before_), 0); }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;

 private:
  __rlimit_resource kind() const { return static_cast<__rlimit_resource>(resource_); }
  int resource_;
  rlimit before_{};
};

TEST(HostShare, WhereOneRankCannotNobodyDoes) {
  auto& comm = comm::test::world();
  comm.barrier();  // connections are there
  {
    const bool is_first = comm.is_root();
    const Limit limit(RLIMIT_FSIZE, is_first ? kBytes - 1 : RLIM_INFINITY);
    EXPECT_EQ(share_on_host(comm, kBytes, nullptr).memory, nullptr) << "the first rank may not make it";
  }
  {
    const bool is_last = comm.rank().value == comm.num_ranks() - 1;
    rlimit files{};
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
    const Limit limit(RLIMIT_NOFILE, is_last ? 3 : files.rlim_cur);
    EXPECT_EQ(share_on_host(comm, kBytes, nullptr).memory, nullptr) << "the last rank cannot open what the first one made";
  }
  expect_shared(comm);
}

/// The sum over ranks.
std::uint64_t sum(Communicator& comm, std::uint64_t mine) {
  std::uint64_t all = 0;
  for (const auto& bytes : comm.all_gather(ByteWriter().put(mine).take())) {
    all += ByteReader(bytes).get<std::uint64_t>();
  }
  return all;
}

TEST(HostShare, AModelIsReadOnceAndTheSame) {
  auto& comm = comm::test::world();
  for (const char* name : {"plain", "uneven", "wide"}) {
    for (const auto precision : {experts::Precision::kFloat32, experts::Precision::kBfloat16}) {
      const auto load = [&](ModelOptions::Sharing sharing) {
        auto model = std::make_unique<Model>(comm, kData / name, ModelOptions{.precision = precision, .num_threads = 1, .sharing = sharing});
        model->load();
        return model;
      };
      const auto shared = load(ModelOptions::Sharing::kAuto), apart = load(ModelOptions::Sharing::kOff);
      const auto others = static_cast<std::uint64_t>(comm.num_ranks() - 1);
      EXPECT_EQ(sum(comm, apart->bytes_read()) - sum(comm, shared->bytes_read()), others * shared_weight_bytes(shared->config()));
      EXPECT_EQ(shared->weights().shared != nullptr, comm.num_ranks() > 1);
      const auto &a = shared->weights().head, &b = apart->weights().head;
      EXPECT_EQ(a.layout(), b.layout());
      EXPECT_EQ(std::memcmp(a.data(), b.data(), size(a.bytes())), 0);
    }
  }
}

}  // namespace
}  // namespace unmask::runtime
