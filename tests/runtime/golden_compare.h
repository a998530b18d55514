// SPDX-License-Identifier: Apache-2.0
// What "exact" means for an answer: tokens, passes, rows, and what every step fed and unmasked.
#pragma once

#include <gtest/gtest.h>

#include "golden_cases.h"

namespace unmask::testing_data {

inline void expect_case(const DecodeCase& c, const runtime::Answer& answer) {
  ASSERT_FALSE(answer.error) << answer.error->what();
  EXPECT_EQ(answer.tokens, c.tokens) << "case " << c.request.number;
  EXPECT_EQ(answer.passes, c.passes) << "case " << c.request.number;
  EXPECT_EQ(answer.rows, c.rows) << "case " << c.request.number;
  if (c.trace.empty()) {
    return;
  }
  ASSERT_EQ(answer.trace.size(), c.trace.size());
  for (std::size_t s = 0; s < c.trace.size(); ++s) {
    const auto& got = answer.trace[s];
    const auto& expected = c.trace[s];
    EXPECT_EQ(got.block, expected.block);
    EXPECT_EQ(got.window_begin, expected.window_begin);
    EXPECT_EQ(got.window_end, expected.window_end);
    ASSERT_EQ(got.unmasked.size(), expected.unmasked.size()) << "case " << c.request.number << ", step " << s;
    for (std::size_t u = 0; u < expected.unmasked.size(); ++u) {
      EXPECT_EQ(got.unmasked[u].position, expected.unmasked[u].position);
      EXPECT_EQ(got.unmasked[u].token, expected.unmasked[u].token);
      EXPECT_NEAR(got.unmasked[u].confidence, expected.unmasked[u].confidence, 1e-4);
    }
  }
}

}  // namespace unmask::testing_data
