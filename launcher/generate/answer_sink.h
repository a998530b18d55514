// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launcher/generate/answer_json.h"
#include "launcher/io/in_order.h"
#include "launcher/io/output.h"
#include "launcher/view/live_view.h"

namespace unmask::launcher {

/// One question as rank 0 remembers it until it is answered.
struct Question {
  std::string id_json;
  std::vector<TokenId> prompt;
  std::vector<std::string> stops;
  std::int64_t gen_length = 0;
};

/// Prints answers in the order of the questions, each as soon as those before it are there; the last JSON object waits for
/// the report of the run. On rank 0.
class AnswerSink {
 public:
  enum class Format { kText, kJson, kJsonWithTrace };
  struct Options {
    Format format = Format::kText;
    const runtime::Tokenizer* tokenizer = nullptr;
  };
  /// `view` may be null; it shows drafts and prints texts.
  AnswerSink(const Output& output, LiveView* view, std::vector<Question> questions, Options options);

  /// A message of a rank: a draft or an answer.
  void take(std::span<const std::byte> posted);
  void take(runtime::Answer answer);
  bool complete() const { return num_taken_ == questions_.size(); }
  /// Whatever was left to print.
  void finish(const RunReport& run);

  std::int64_t num_failed() const { return num_failed_; }
  /// Of failed questions in text form, in order: what to tell the user.
  const std::vector<Error>& errors() const { return errors_; }
  std::int64_t text_tokens() const { return text_tokens_; }
  std::int64_t passes() const { return passes_; }

 private:
  void print(std::size_t number, const runtime::Answer& answer, const RunReport* run);

  const Output& output_;
  LiveView* view_;
  std::vector<Question> questions_;
  Options options_;
  InOrder<runtime::Answer> waiting_;
  std::optional<runtime::Answer> last_;  ///< waits for the report
  std::size_t num_taken_ = 0;
  std::int64_t num_failed_ = 0;
  std::vector<Error> errors_;
  std::int64_t text_tokens_ = 0;
  std::int64_t passes_ = 0;
};

}  // namespace unmask::launcher
