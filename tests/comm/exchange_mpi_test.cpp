// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/comm/exchange_cases.h"
#include "tests/comm/mpi_test_main.h"

namespace unmask::comm::test {
namespace {

class ExchangeOverMpi : public testing::TestWithParam<ExchangeCase> {};

TEST_P(ExchangeOverMpi, GivesTheBitsOfTheReference) {
  for (const auto& setting : exchange_settings()) {
    run_exchange_case(world(), GetParam(), setting);
  }
}

TEST_P(ExchangeOverMpi, FastCombineStaysClose) { run_fast_combine(world(), GetParam()); }

INSTANTIATE_TEST_SUITE_P(Cases, ExchangeOverMpi, testing::ValuesIn(exchange_cases()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace unmask::comm::test
