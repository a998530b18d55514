// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/exchange.h"

namespace unmask::comm::test {

/// How the rows of a layer choose their experts.
enum class Routes {
  kRandom,
  kOneExpert,  ///< every row of every rank goes to the last expert (top-1)
  kSkewed,     ///< nearly every row takes the first experts
};

/// How many rows a rank has in a layer.
enum class Rows { kNone, kOne, kSome, kOneIdle, kOnlyOneBusy, kChanging };

enum class Layout { kEven, kShuffled, kAllOnLast };

struct ExchangeCase {
  std::string name;
  std::int64_t num_experts = 64;
  std::int64_t top_k = 8;
  std::int64_t hidden = 48;
  Routes routes = Routes::kRandom;
  Rows rows = Rows::kSome;
  Layout layout = Layout::kEven;
  int num_layers = 3;
};
inline void PrintTo(const ExchangeCase& c, std::ostream* out) { *out << c.name; }

std::vector<ExchangeCase> exchange_cases();

/// Runs the layers of a case through an Exchange and compares every sum, bit by bit, with the reference; EXPECTs only, so
/// that all ranks come to the end. Every rank calls it.
void run_exchange_case(Communicator& comm, const ExchangeCase& test_case, WireType wire);

}  // namespace unmask::comm::test
