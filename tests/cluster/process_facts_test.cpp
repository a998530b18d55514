// SPDX-License-Identifier: Apache-2.0
#include "cluster/process_facts.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace unmask::cluster {
namespace {

/// A child that lives until it is ended.
pid_t start_child() {
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) {
      ::pause();
    }
  }
  return child;
}

void end_child(pid_t child) {
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST(ProcessFacts, TellAProcessThatLivesFromOneThatIsGone) {
  const pid_t child = start_child();
  EXPECT_NE(activity_of(child).state, '?');
  EXPECT_FALSE(is_alive({child, 1, "another one that had this number"}));
  ::kill(child, SIGSTOP);
  int status = 0;
  ::waitpid(child, &status, WUNTRACED);
  EXPECT_TRUE(activity_of(child).is_stopped());
  end_child(child);
  EXPECT_EQ(activity_of(child).state, '?');
}

/// Between opening and reading what /proc says of it, a process may end: then reading fails.
TEST(ProcessFacts, AProcessMayEndWhileItIsLookedAt) {
  for (int i = 0; i < 200; ++i) {
    const pid_t child = start_child();
    std::atomic<bool> is_watched = false;
    std::thread watcher([&] {
      while (activity_of(child).state != '?') {
        is_watched = true;
      }
    });
    while (!is_watched) {
    }
    end_child(child);
    watcher.join();
  }
}

}  // namespace
}  // namespace unmask::cluster
