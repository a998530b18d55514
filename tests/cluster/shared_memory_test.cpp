// SPDX-License-Identifier: Apache-2.0
#include "cluster/shared_memory.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace unmask::cluster {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::size_t kBytes = (std::size_t{5} << 20) + 4096;

std::string refusal(const SharedMemory::Offer& offer) {
  try {
    SharedMemory::take(offer);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kIo);
    return error.what();
  }
}

/// Runs `body` in a process of its own and returns how that ended.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(body());
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

TEST(SharedMemory, TwoProcessesSeeTheSame) {
  const SharedMemory memory = SharedMemory::create(kBytes);
  ASSERT_EQ(memory.bytes().size(), kBytes);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.bytes().data()) % (2 << 20), 0U);
  memory.populate(memory.bytes().subspan(3, 5000));
  memory.bytes()[7] = std::byte{42};
  const auto offer = memory.offer();
  const int status = in_child([&] {
    const SharedMemory other = SharedMemory::take(offer);
    other.bytes()[kBytes - 1] = std::byte{43};
    return other.bytes()[7] == std::byte{42} && other.bytes().data() != memory.bytes().data() ? 0 : 1;
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(memory.bytes()[kBytes - 1], std::byte{43});
}

TEST(SharedMemory, OutlivesWhoMadeIt) {
  std::optional<SharedMemory> made = SharedMemory::create(kBytes);
  made->bytes()[1] = std::byte{9};
  const SharedMemory taken = SharedMemory::take(made->offer());
  const auto offer = made->offer();
  made->end_offer();
  EXPECT_THAT(refusal(offer), HasSubstr("/proc/"));
  made.reset();
  EXPECT_EQ(taken.bytes()[1], std::byte{9});
}

TEST(SharedMemory, IsNotTakenForAnother) {
  const SharedMemory memory = SharedMemory::create(kBytes), other = SharedMemory::create(kBytes);
  auto offer = memory.offer();
  offer.descriptor = other.offer().descriptor;  // as a process with the same number in another container may have
  EXPECT_THAT(refusal(offer), AllOf(HasSubstr(memory.offer().name), HasSubstr(other.offer().name)));
  offer.descriptor = 0;
  EXPECT_THAT(refusal(offer), HasSubstr("expected the shared memory"));
  offer = memory.offer();
  offer.bytes += 1;
  EXPECT_THAT(refusal(offer), HasSubstr("expected 5246977 bytes, found 5246976"));
  offer = memory.offer();
  offer.process = 1 << 30;
  EXPECT_THAT(refusal(offer), HasSubstr("No such file"));
}

TEST(SharedMemory, HasNoNameThatCouldStayBehind) {
  const auto names = [] {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
      found.push_back(entry.path().filename().string());
    }
    return found;
  };
  const SharedMemory memory = SharedMemory::create(kBytes);
  EXPECT_THAT(names(), Not(Contains(HasSubstr("unmask"))));
  EXPECT_THAT(memory.offer().name, HasSubstr("unmask-weights-"));
}

/// The size that ulimit -f allows: what would else be SIGXFSZ.
TEST(SharedMemory, ObeysTheLimitOfFiles) {
  EXPECT_EQ(in_child([] {
              const rlimit limit{.rlim_cur = kBytes - 1, .rlim_max = kBytes - 1};
              if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) {
                return 2;
              }
              try {
                SharedMemory::create(kBytes);
              } catch (const Error& error) {
                return std::strstr(error.what(), "ulimit -f") != nullptr ? 0 : 3;
              }
              return 1;
            }),
            0);
}

TEST(SharedMemory, WritesAreForbiddenToOneProcessAlone) {
  const SharedMemory memory = SharedMemory::create(kBytes);
  memory.bytes()[0] = std::byte{1};
  const SharedMemory other = SharedMemory::take(memory.offer());
  other.forbid_writes();
  const int status = in_child([&] {
    ::signal(SIGSEGV, [](int) { ::_exit(7); });
    *const_cast<volatile std::byte*>(other.bytes().data()) = std::byte{2};
    return 0;
  });
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_EQ(other.bytes()[0], std::byte{1});
  memory.bytes()[0] = std::byte{3};
  EXPECT_EQ(other.bytes()[0], std::byte{3});
}

}  // namespace
}  // namespace unmask::cluster
