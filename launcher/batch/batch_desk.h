// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "launcher/batch/answer_log.h"
#include "launcher/batch/hand_out.h"
#include "launcher/batch/request_pump.h"
#include "launcher/io/in_order.h"

namespace unmask::launcher {

/// Rank 0's desk: requests come in from the pump and go out to the ranks, answers come back and go to the log.
///
///   pump -> held -> placed on a rank -> (answered) -> reorder window -> log
///
/// Everything here is bounded: what waits in the pump, what the ranks have in hand, and how far answers run ahead.
class BatchDesk {
 public:
  enum class Order { kInput, kAny };
  struct Options {
    Order order = Order::kInput;
    std::int64_t first_index = 0;  ///< of the input order: answers before it are in the log
    std::int64_t window_requests = 10000;
    std::size_t window_bytes = std::size_t{64} << 20;
    const runtime::Tokenizer* tokenizer = nullptr;
  };
  BatchDesk(AnswerLog& log, RequestPump& pump, HandOut hand_out, Options options);

  /// Gives the ranks what they have room for; `send` gets a rank's new requests.
  void hand_out(const std::function<void(Rank, const std::vector<TokenRequest>&)>& send);
  void take(runtime::Answer answer);
  /// All requests are answered, and all answers are in the log.
  bool done() const;

  AnswerLog& log() { return log_; }

 private:
  struct Finished {
    AnsweredLine record;
    std::string line;
  };
  bool window_is_full() const;
  void finish(const Ticket& ticket, const runtime::Answer& answer);
  void write(Finished finished);

  AnswerLog& log_;
  RequestPump& pump_;
  HandOut hand_out_;
  Options options_;
  std::optional<Prepared> held_;  ///< the next one, for which no rank has room
  std::unordered_map<std::int64_t, Ticket> out_;
  InOrder<Finished> window_;
  std::size_t window_bytes_ = 0;
  std::int64_t next_index_;  ///< one more than that of the last request taken
};

}  // namespace unmask::launcher
