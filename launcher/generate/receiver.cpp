// SPDX-License-Identifier: Apache-2.0
#include "launcher/generate/receiver.h"

#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/clock.h"
#include "launcher/view/terminal.h"

namespace unmask::launcher {
namespace {

/// The text of each token as far as it is known when the token comes; ids where there is no tokenizer.
DraftBoard::Decode draft_decoder(const runtime::Tokenizer* tokenizer) {
  return [tokenizer](std::span<const TokenId> tokens) {
    std::vector<std::string> texts;
    if (tokenizer == nullptr) {
      for (const TokenId token : tokens) {
        texts.push_back(format("{} ", token));
      }
      return texts;
    }
    runtime::StreamDecoder decoder(*tokenizer, runtime::Tokenizer::SpecialTokens::kSkip);
    for (const TokenId token : tokens) {
      texts.push_back(decoder.push(token));
    }
    if (!texts.empty()) {
      texts.back() += decoder.finish();
    }
    return texts;
  };
}

AnswerSink::Format format_of(const OptionValues& options) {
  if (!options.is_on("json") && !options.given("requests")) {
    return AnswerSink::Format::kText;
  }
  return options.is_on("show-steps") ? AnswerSink::Format::kJsonWithTrace : AnswerSink::Format::kJson;
}

}  // namespace

Receiver::Receiver(const Job& job, Plan& plan) : job_(job) {
  const auto* tokenizer = plan.text.tokenizer ? &*plan.text.tokenizer : nullptr;
  if (plan.draws) {
    const char* no_colour = std::getenv("NO_COLOR");
    view_.emplace(job.output, draft_decoder(tokenizer),
                  LiveView::Options{.num_answers = static_cast<std::int64_t>(plan.asked.questions.size()),
                                    .colour = no_colour == nullptr || *no_colour == '\0' ? Colour::kOn : Colour::kOff,
                                    // mpirun drops what a rank writes after Ctrl-C, the cursor's return included
                                    .cursor = can_draw() ? Cursor::kHide : Cursor::kLeave});
  }
  sink_.emplace(job.output, view_ ? &*view_ : nullptr, std::move(plan.asked.questions),
                AnswerSink::Options{format_of(job.options()), tokenizer});
  for (runtime::Answer& answer : plan.asked.refused) {
    sink_->take(std::move(answer));
  }
}

bool Receiver::drain() {
  bool any = false;
  for (; const auto posted = job_.comm.poll(); any = true) {
    sink_->take(posted->message);
  }
  return any;
}

void Receiver::drain_to_the_end() {
  Stopwatch since_last;
  for (drain(); !sink_->complete();) {
    if (drain()) {
      since_last = Stopwatch();
      continue;
    }
    UNMASK_CHECK(job_.comm.num_ranks() > 1, "answers are missing and nobody else can send them");
    job_.comm.waits("answers of other ranks", Rank(1), since_last.elapsed());
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

}  // namespace unmask::launcher
