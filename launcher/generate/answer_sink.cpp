// SPDX-License-Identifier: Apache-2.0
#include "launcher/generate/answer_sink.h"

#include "launcher/text/wire.h"

namespace unmask::launcher {

AnswerSink::AnswerSink(const Output& output, LiveView* view, std::vector<Question> questions, Options options)
    : output_(output), view_(view), questions_(std::move(questions)), options_(options) {
  for (std::size_t i = 0; view_ != nullptr && i < questions_.size(); ++i) {
    view_->board().add(static_cast<std::int64_t>(i), static_cast<std::int64_t>(questions_[i].prompt.size()), questions_[i].gen_length);
  }
}

void AnswerSink::take(std::span<const std::byte> posted) {
  auto message = unpack_posted(posted);
  if (auto* answer = std::get_if<runtime::Answer>(&message)) {
    take(std::move(*answer));
  } else if (view_ != nullptr) {
    view_->board().apply(std::get<Draft>(message));
    view_->refresh();
  }
}

void AnswerSink::take(runtime::Answer answer) {
  UNMASK_CHECK(answer.number >= 0 && size(answer.number) < questions_.size(), "answer {}", answer.number);
  ++num_taken_;
  if (answer.error) {
    ++num_failed_;
  }
  text_tokens_ += answer.text_tokens;
  passes_ += answer.passes;
  if (view_ != nullptr && !answer.error) {
    view_->board().finish(answer.number, std::span(answer.tokens).first(size(answer.text_tokens)));
  }
  waiting_.put(answer.number, std::move(answer));
  while (auto next = waiting_.next()) {
    const auto number = size(waiting_.num_left()) - 1;
    if (options_.format != Format::kText && number + 1 == questions_.size()) {
      last_ = std::move(next);
    } else {
      print(number, *next, nullptr);
    }
  }
}

void AnswerSink::finish(const RunReport& run) {
  if (last_) {
    print(questions_.size() - 1, *last_, &run);
    last_.reset();
  }
  if (view_ != nullptr) {
    view_->close();
  }
}

void AnswerSink::print(std::size_t number, const runtime::Answer& answer, const RunReport* run) {
  const Question& question = questions_[number];
  const AnswerText text = answer.error ? AnswerText{} : answer_text(answer, question.stops, options_.tokenizer);
  if (options_.format != Format::kText) {
    const auto trace = options_.format == Format::kJsonWithTrace ? AnswerLine::Trace::kPrint : AnswerLine::Trace::kLeaveOut;
    output_.write(answer_json({question.id_json, question.prompt, answer, text, trace}, run) + "\n");
  } else if (answer.error) {
    errors_.emplace_back(answer.error->code(), questions_.size() == 1 ? std::string(answer.error->what())
                                                                      : format("prompt {}: {}", number + 1, answer.error->what()));
    if (view_ != nullptr) {
      view_->board().remove(answer.number);
    }
  } else if (view_ != nullptr) {
    view_->print(answer.number, text.text);
  } else {
    output_.write(text.text + "\n");
  }
}

}  // namespace unmask::launcher
