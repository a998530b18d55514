// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "comm/threads/thread_world.h"
#include "tests/comm/exchange_cases.h"

namespace unmask::comm::test {
namespace {

class ExchangeOverThreads : public testing::TestWithParam<std::tuple<int, ExchangeCase>> {};

TEST_P(ExchangeOverThreads, GivesTheBitsOfTheReference) {
  const auto& [num_ranks, test_case] = GetParam();
  for (const auto& setting : exchange_settings()) {
    threads::ThreadWorld(num_ranks).run([&](Communicator& comm) { run_exchange_case(comm, test_case, setting); });
  }
}

TEST_P(ExchangeOverThreads, FastCombineStaysClose) {
  const auto& [num_ranks, test_case] = GetParam();
  threads::ThreadWorld(num_ranks).run([&](Communicator& comm) { run_fast_combine(comm, test_case); });
}

INSTANTIATE_TEST_SUITE_P(Ranks, ExchangeOverThreads,
                         testing::Combine(testing::Values(1, 2, 3, 4, 5, 8), testing::ValuesIn(exchange_cases())),
                         [](const auto& instance) {
                           return std::get<1>(instance.param).name + "On" + std::to_string(std::get<0>(instance.param));
                         });

}  // namespace
}  // namespace unmask::comm::test
