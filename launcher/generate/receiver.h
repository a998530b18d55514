// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "launcher/generate/answer_sink.h"
#include "launcher/generate/plan.h"

namespace unmask::launcher {

/// Rank 0's end of a run: takes what the ranks post, shows it and prints it.
class Receiver {
 public:
  /// Takes the questions out of the plan, whose tokenizer must outlive the receiver.
  Receiver(const Job& job, Plan& plan);

  /// What has arrived by now; false if nothing had.
  bool drain();
  /// After the last step: messages may still be on their way, for as long as a peer may keep us waiting.
  void drain_to_the_end();

  AnswerSink& sink() { return *sink_; }

 private:
  const Job& job_;
  std::optional<LiveView> view_;
  std::optional<AnswerSink> sink_;
};

}  // namespace unmask::launcher
