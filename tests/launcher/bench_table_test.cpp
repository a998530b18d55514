// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/bench/bench_table.h"
#include "launcher/options/option_spec.h"

namespace unmask::launcher {
namespace {

TEST(BenchTable, HasWhatTheOptionTableOffers) {
  std::vector<std::string_view> names;
  for (const BenchSpec& spec : bench_table()) {
    names.push_back(spec.name);
  }
  EXPECT_EQ(names, split_choices(find_option("bench")->choices));
}

}  // namespace
}  // namespace unmask::launcher
