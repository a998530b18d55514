// SPDX-License-Identifier: Apache-2.0
// What the simulated cuBLASLt offers, and what is wrong with it.
#pragma once

#include <vector>

namespace simulator {

enum class LibraryAlgorithm {
  kGood,
  kSplitsK,        ///< says so
  kReduces,        ///< says so
  kRowsMatter,     ///< adds up backwards from 17 rows on
  kPlaceMatters,   ///< adds up backwards in every other row
  kWrong,          ///< leaves the last product out
  kNotForFewRows,  ///< refuses less than 8 rows
};

/// From now on, best first; one good one at first.
void offer_library_algorithms(std::vector<LibraryAlgorithm> algorithms);
/// Products that the library has computed.
long long num_library_products();

}  // namespace simulator
