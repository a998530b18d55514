// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/lockstep.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/byte_stream.h"
#include "base/clock.h"
#include "launcher/text/answer_text.h"
#include "launcher/text/wire.h"

namespace unmask::launcher {
namespace {

/// Between steps in which nobody had anything to do: the longer that lasts, the longer, but far less than a user would notice.
constexpr std::chrono::microseconds kShortestRest(200), kLongestRest(20000);

/// One rank's work between the first step and the last.
class Worker {
 public:
  explicit Worker(const BatchRank& rank)
      : rank_(rank), comm_(rank.job.comm), num_sent_(size(comm_.num_ranks())),
        engine_(rank.network.transformer(), engine_options(), {.on_answer = [this](const runtime::Request&, runtime::Answer answer) {
                  answers_.push_back(std::move(answer));
                }}) {}

  LockstepResult run() {
    if (rank_.desk != nullptr) {
      engine_.set_intake(runtime::Intake::kOpen);
    }
    bool works = true;
    auto idle_rest = kShortestRest;
    while (works && !engine_.stop_was_voted()) {
      before_step();
      works = engine_.run_step();
      send_answers();
      if (engine_.was_idle()) {
        std::this_thread::sleep_for(idle_rest);
        idle_rest = std::min(2 * idle_rest, kLongestRest);
      } else {
        idle_rest = kShortestRest;
      }
    }
    settle();
    return {.stopped = engine_.stop_was_voted(), .failure = failure_, .statistics = engine_.statistics()};
  }

 private:
  runtime::EngineOptions engine_options() {
    const OptionValues& options = rank_.job.options();
    return {.max_rows = options.integer("max-rows"),
            .kv_memory_bytes = rank_.network.kv_memory_bytes(),
            .eos_tokens = rank_.special.ends,
            .mask_token = rank_.special.mask,
            .stops_at_text = [this](const runtime::Request& request, std::span<const TokenId> tokens) {
              return !request.options.stop.empty() && holds_stop(tokens, request.options.stop, tokenizer());
            }};
  }

  const runtime::Tokenizer& tokenizer() {
    if (rank_.tokenizer != nullptr) {
      return *rank_.tokenizer;
    }
    if (!own_tokenizer_) {
      own_tokenizer_.emplace(runtime::Tokenizer::of_model(rank_.network.files()));
    }
    return *own_tokenizer_;
  }

  void submit(std::vector<TokenRequest> requests) {
    for (const TokenRequest& request : requests) {
      runtime::Request typed = request.to_request();
      if (!typed.options.stop.empty()) {
        tokenizer();  // here, where it may fail
      }
      engine_.submit(std::move(typed));
    }
  }

  /// What the desk does may fail: a full disk, a changed input. Then the ranks are asked to stop, in step.
  void with_desk(const std::function<void(BatchDesk&)>& part) {
    if (rank_.desk == nullptr || failure_) {
      return;
    }
    try {
      part(*rank_.desk);
    } catch (const Error& error) {
      failure_ = error;
      engine_.vote_to_stop();
    }
  }

  void before_step() {
    receive();
    with_desk([&](BatchDesk& desk) {
      desk.hand_out([&](Rank to, const std::vector<TokenRequest>& requests) {
        if (to == comm_.rank()) {
          submit(requests);
        } else {
          comm_.post(to, pack(requests));
          ++num_sent_[to.at()];
        }
      });
      if (desk.done()) {
        engine_.set_intake(runtime::Intake::kClosed);
      }
      desk.log().write_out();
      rank_.after_step();
    });
    if (rank_.wants_stop()) {
      engine_.vote_to_stop();
    }
  }

  /// Answers on rank 0, requests elsewhere.
  void receive() {
    while (const auto posted = comm_.poll()) {
      ++num_received_;
      if (rank_.desk == nullptr) {
        submit(unpack_requests(posted->message));
        continue;
      }
      auto answer = std::get<runtime::Answer>(unpack_posted(posted->message));
      with_desk([&](BatchDesk& desk) { desk.take(std::move(answer)); });
    }
  }

  void send_answers() {
    for (runtime::Answer& answer : answers_) {
      if (rank_.desk != nullptr) {
        with_desk([&](BatchDesk& desk) { desk.take(std::move(answer)); });
      } else {
        comm_.post(Rank(0), pack(answer));
        ++num_sent_[0];
      }
    }
    answers_.clear();
  }

  /// After the last step messages may still be under way: each rank learns how many are meant for it, and takes them.
  void settle() {
    std::int64_t expected = 0;
    for (const auto& bytes : comm_.all_gather(ByteWriter().put(num_sent_).take())) {
      expected += ByteReader(bytes).get_list<std::int64_t>().at(comm_.rank().at());
    }
    const Stopwatch waited;
    const Rank next((comm_.rank().value + 1) % comm_.num_ranks());
    for (receive(); num_received_ < expected; receive()) {
      comm_.waits("messages of other ranks", next, waited.elapsed());
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }

  const BatchRank& rank_;
  comm::Communicator& comm_;
  std::vector<std::int64_t> num_sent_;  ///< messages, by rank
  std::int64_t num_received_ = 0;
  std::vector<runtime::Answer> answers_;  ///< of the step just done
  std::optional<runtime::Tokenizer> own_tokenizer_;
  std::optional<Error> failure_;
  runtime::Engine engine_;
};

}  // namespace

LockstepResult run_in_lockstep(const BatchRank& rank) { return Worker(rank).run(); }

}  // namespace unmask::launcher
