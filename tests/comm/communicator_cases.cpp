// SPDX-License-Identifier: Apache-2.0
#include "tests/comm/communicator_cases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>
#include <thread>

#include "base/clock.h"
#include "comm/handshake.h"

namespace unmask::comm::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Bytes that tell who sent them and which message it was.
Bytes payload(std::int64_t sender, std::int64_t message, std::size_t bytes) {
  Bytes blob(bytes);
  for (std::size_t i = 0; i < bytes; ++i) {
    blob[i] = static_cast<std::byte>((static_cast<std::size_t>(sender) * 31 + static_cast<std::size_t>(message) * 7 + i) % 251);
  }
  return blob;
}

/// The message of the error that `body` throws, "none" if it does not throw.
template <class Body>
std::string error_of(ExitCode code, Body body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    return error.what();
  }
  return "none";
}

}  // namespace

void check_identity(Communicator& comm) {
  EXPECT_TRUE(comm.rank().value >= 0 && comm.rank().value < comm.num_ranks());
  EXPECT_FALSE(comm.host().empty());
  EXPECT_EQ(comm.num_ranks_on_host(), comm.num_ranks()) << "tests run on one host";
  const auto local = static_cast<std::byte>(comm.rank_on_host());
  std::set<std::byte> seen;
  for (const auto& theirs : comm.all_gather(std::span(&local, 1))) {
    EXPECT_EQ(theirs.size(), 1U);
    seen.insert(theirs.empty() ? std::byte{255} : theirs[0]);
  }
  EXPECT_EQ(std::ssize(seen), comm.num_ranks()) << "ranks on a host are numbered";
}

void check_all_gather(Communicator& comm, std::size_t large_bytes) {
  for (std::int64_t round = 0; round < 20; ++round) {
    // Ragged: nothing, a few bytes, and in one round one rank has very much.
    const auto bytes_of = [&](std::int64_t rank) {
      return round == 10 && rank == comm.num_ranks() - 1 ? large_bytes : static_cast<std::size_t>((rank + round) % 4) * 1000;
    };
    const auto all = comm.all_gather(payload(comm.rank().value, round, bytes_of(comm.rank().value)));
    EXPECT_EQ(std::ssize(all), comm.num_ranks());
    for (std::int64_t rank = 0; rank < std::ssize(all); ++rank) {
      EXPECT_TRUE(all[size(rank)] == payload(rank, round, bytes_of(rank))) << "blob of rank " << rank;
    }
  }
}

void check_broadcast(Communicator& comm, std::size_t large_bytes) {
  for (Rank root(0); root.value < comm.num_ranks(); ++root) {
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{70000}, root.value == 0 ? large_bytes : 3}) {
      const auto expected = payload(root.value, 5, bytes);
      const auto mine = comm.rank() == root ? expected : payload(99, 9, 17);  // what others have must not matter
      EXPECT_TRUE(comm.broadcast(mine, root) == expected) << bytes << " bytes from rank " << root.value;
    }
  }
}

void check_barrier_holds_everyone_back(Communicator& comm) {
  using Clock = std::chrono::steady_clock;  // one clock for all ranks of a host
  for (std::int64_t late = 0; late < comm.num_ranks(); ++late) {
    if (comm.rank().value == late) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    std::array<Clock::rep, 2> passage{Clock::now().time_since_epoch().count()};
    comm.barrier();
    passage[1] = Clock::now().time_since_epoch().count();
    std::array<Clock::rep, 2> others{};
    for (const auto& theirs : comm.all_gather(std::as_bytes(std::span(passage)))) {
      std::memcpy(others.data(), theirs.data(), std::min(theirs.size(), sizeof(others)));
      EXPECT_GE(passage[1], others[0]) << "left before everyone had come";
    }
  }
}

void check_posts(Communicator& comm, std::int64_t count) {
  const auto bytes_of = [](std::int64_t message) {
    return message % 500 == 499 ? std::size_t{1} << 20 : static_cast<std::size_t>(message % 50);
  };
  for (std::int64_t message = 0; message < count; ++message) {
    for (Rank to(0); to.value < comm.num_ranks(); ++to) {
      comm.post(to, payload(comm.rank().value, message + to.value, bytes_of(message)));
    }
  }
  comm.barrier();  // a collective while posts are under way, none of them polled
  std::map<Rank, std::int64_t> next;
  const Stopwatch watch;
  for (std::int64_t got = 0; got < count * comm.num_ranks();) {
    const auto posted = comm.poll();
    if (!posted) {
      std::this_thread::yield();
      if (watch.seconds() > 50) {
        ADD_FAILURE() << "only " << got << " messages came";
        break;
      }
      continue;
    }
    const auto message = next[posted->from]++;
    EXPECT_TRUE(posted->message == payload(posted->from.value, message + comm.rank().value, bytes_of(message)))
        << "message " << message << " of rank " << posted->from.value;
    ++got;
  }
  EXPECT_FALSE(comm.poll().has_value());
  comm.barrier();
}

void check_require_same(Communicator& comm) {
  const std::vector<Fact> same{{"program version", "1.0"}, {"checkpoint", "abc"}};
  EXPECT_EQ(error_of(ExitCode::kBadInput, [&] { require_same(comm, same); }), "none");

  const Rank odd(comm.num_ranks() - 1);
  auto mine = same;
  if (comm.rank() == odd) {
    mine[1].value = "xyz";
  }
  const auto message = error_of(ExitCode::kBadInput, [&] { require_same(comm, mine); });
  if (comm.num_ranks() == 1) {
    EXPECT_EQ(message, "none");
  } else {
    EXPECT_THAT(message, AllOf(HasSubstr("same checkpoint"), HasSubstr(format("rank {} (host {})", odd, comm.host())),
                               HasSubstr("'xyz'"), HasSubstr("'abc'")));
  }
  for (const bool more : {false, true}) {  // another version of the program has another list
    mine = same;
    if (comm.rank() == odd && more) {
      mine.push_back({"colour", "red"});
    } else if (comm.rank() == odd) {
      mine.pop_back();
    }
    const auto text = error_of(ExitCode::kBadInput, [&] { require_same(comm, mine); });
    EXPECT_EQ(text == "none", comm.num_ranks() == 1) << text;
  }
  if (comm.num_ranks() > 2) {  // rank 0 itself is the odd one
    const std::vector<Fact> facts{{"kernel", comm.is_root() ? "amx" : "avx2"}};
    EXPECT_THAT(error_of(ExitCode::kBadInput, [&] { require_same(comm, facts); }),
                AllOf(HasSubstr("rank 0 (host"), HasSubstr("has 'amx'")));
  }
}

void check_agree(Communicator& comm) {
  EXPECT_EQ(error_of(ExitCode::kIo, [&] { agree(comm, std::nullopt); }), "none");
  std::optional<Error> mine;  // of ranks 1, 2, ... the lowest is heard
  const std::int64_t first = std::min<std::int64_t>(1, comm.num_ranks() - 1);
  if (comm.rank().value >= first) {
    mine.emplace(ExitCode::kIo, format("disk {} full", comm.rank()));
  }
  const auto message = error_of(ExitCode::kIo, [&] { agree(comm, mine); });
  EXPECT_EQ(message, comm.num_ranks() == 1 ? "disk 0 full" : format("rank {} host {}: disk {} full", first, comm.host(), first));
  EXPECT_EQ(error_of(ExitCode::kIo, [&] { agree(comm, std::nullopt); }), "none") << "and life goes on";
}

}  // namespace unmask::comm::test
