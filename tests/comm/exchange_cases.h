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

/// How an exchange may be built: none of it changes a bit.
struct ExchangeSetting {
  WireType wire = WireType::kBfloat16;
  Overlap overlap = Overlap::kOn;
  std::int64_t min_message_bytes = 1;  ///< as many chunks as there can be
  int num_threads = 1;
  Algorithm algorithm = Algorithm::kDirect;
  bool in_turns = false;  ///< layers go to the exchange and its twin in turns, so that two are under way
};
std::vector<ExchangeSetting> exchange_settings();

/// Runs the layers of a case through an Exchange and compares every sum, bit by bit, with the reference; EXPECTs only, so
/// that all ranks come to the end. Every rank calls it.
void run_exchange_case(Communicator& comm, const ExchangeCase& test_case, const ExchangeSetting& setting);

/// The same with fast combine, whose bits hang on the placement: the sums are near those of exact combine, fewer bytes return,
/// and a second run gives the same bits.
void run_fast_combine(Communicator& comm, const ExchangeCase& test_case);

}  // namespace unmask::comm::test
