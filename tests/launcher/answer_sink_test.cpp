// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <sstream>

#include <nlohmann/json.hpp>

#include "launcher/generate/answer_sink.h"

namespace unmask::launcher {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

const runtime::Tokenizer& demo_tokenizer() {
  static const auto tokenizer = runtime::Tokenizer::read(UNMASK_SOURCE_DIR "/models/demo/tokenizer.json");
  return tokenizer;
}

constexpr TokenId kEnd = 507;

/// An answer of `gen_length` tokens: the text's, then end tokens.
runtime::Answer answer(std::int64_t number, const std::string& text, std::int64_t gen_length = 16) {
  runtime::Answer out;
  out.number = number;
  out.tokens = demo_tokenizer().encode(runtime::SourcedText::all_user(text));
  out.text_tokens = static_cast<std::int64_t>(out.tokens.size());
  out.tokens.resize(size(gen_length), kEnd);
  out.passes = 2;
  out.rows = 40;
  out.finish_reason = out.text_tokens < gen_length ? runtime::FinishReason::kStop : runtime::FinishReason::kLength;
  return out;
}

runtime::Answer failed(std::int64_t number) {
  runtime::Answer out;
  out.number = number;
  out.error.emplace(ExitCode::kBadInput, "no good");
  return out;
}

/// A sink on a pipe.
class SinkOnPipe {
 public:
  SinkOnPipe(std::size_t num_questions, AnswerSink::Format format, std::vector<std::string> stops = {})
      : output_(make_pipe()), sink_(output_, nullptr, questions(num_questions, stops), {format, &demo_tokenizer()}) {}
  ~SinkOnPipe() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  AnswerSink& sink() { return sink_; }
  std::string take() {
    std::array<char, 1 << 14> buffer{};
    Output(ends_[1]).write("!");
    const auto n = ::read(ends_[0], buffer.data(), buffer.size());
    return std::string(buffer.data(), static_cast<std::size_t>(n) - 1);
  }
  std::vector<json> take_lines() {
    std::vector<json> lines;
    std::istringstream text(take());
    for (std::string line; std::getline(text, line);) {
      lines.push_back(json::parse(line));
    }
    return lines;
  }

 private:
  static std::vector<Question> questions(std::size_t count, const std::vector<std::string>& stops) {
    std::vector<Question> out;
    for (std::size_t i = 0; i < count; ++i) {
      out.push_back({.id_json = i == 1 ? "17" : format("\"q{}\"", i), .prompt = {1, 2}, .stops = stops, .gen_length = 16});
    }
    return out;
  }
  int make_pipe() {
    EXPECT_EQ(::pipe(ends_.data()), 0);
    return ends_[1];
  }
  std::array<int, 2> ends_{};
  Output output_;
  AnswerSink sink_;
};

TEST(AnswerSink, TextsComeInTheOrderOfTheQuestionsAndAsSoonAsTheyCan) {
  SinkOnPipe pipe(3, AnswerSink::Format::kText);
  pipe.sink().take(answer(2, "third"));
  EXPECT_EQ(pipe.take(), "");
  pipe.sink().take(answer(0, "first\nline two"));
  EXPECT_EQ(pipe.take(), "first\nline two\n");
  EXPECT_FALSE(pipe.sink().complete());
  pipe.sink().take(answer(1, ""));
  EXPECT_EQ(pipe.take(), "\nthird\n");
  EXPECT_TRUE(pipe.sink().complete());
  pipe.sink().finish({});
  EXPECT_EQ(pipe.take(), "");
}

TEST(AnswerSink, TheLastObjectHoldsTheRun) {
  SinkOnPipe pipe(3, AnswerSink::Format::kJson);
  pipe.sink().take(answer(2, "ab"));
  pipe.sink().take(failed(1));
  pipe.sink().take(answer(0, "c"));
  auto lines = pipe.take_lines();
  ASSERT_EQ(lines.size(), 2U) << "the last one waits for the run";
  EXPECT_EQ(lines[0]["id"], "q0");
  EXPECT_EQ(lines[0]["text"], "c");
  EXPECT_EQ(lines[0]["tokens"].size(), 16U);
  EXPECT_EQ(lines[0]["prompt_tokens"], (std::vector<int>{1, 2}));
  EXPECT_EQ(lines[0]["passes"], 2);
  EXPECT_EQ(lines[0]["rows"], 40);
  EXPECT_EQ(lines[0]["finish_reason"], "stop");
  EXPECT_FALSE(lines[0].contains("run"));
  EXPECT_FALSE(lines[0].contains("trace"));
  EXPECT_EQ(lines[1], json::parse(R"({"id": 17, "error": {"code": 3, "message": "no good"}})"));

  RunReport run;
  run.load_seconds = 0.5;
  run.decode_seconds = 2;
  run.text_tokens = pipe.sink().text_tokens();
  run.passes = pipe.sink().passes();
  run.num_threads = 3;
  run.dtype = "f32";
  run.kernel = "portable";
  run.exchange.wire_bytes = 99;
  run.bytes_read = {10, 20};
  run.peak_memory_bytes = {30, 40};
  pipe.sink().finish(run);
  lines = pipe.take_lines();
  ASSERT_EQ(lines.size(), 1U);
  const json& got = lines[0]["run"];
  EXPECT_EQ(got["seconds"], json::parse(R"({"load": 0.5, "decode": 2.0})"));
  EXPECT_EQ(got["tokens_per_second"], static_cast<double>(run.text_tokens) / 2);
  EXPECT_EQ(got["tokens_per_pass"], static_cast<double>(run.text_tokens) / 4) << "a failed request made no pass";
  EXPECT_EQ(got["ranks"], 2);
  EXPECT_EQ(got["threads"], 3);
  EXPECT_EQ(got["dtype"], "f32");
  EXPECT_EQ(got["kernel"], "portable");
  EXPECT_EQ(got["wire_bytes"], 99);
  EXPECT_EQ(got["bytes_read"], (std::vector<int>{10, 20}));
  EXPECT_EQ(got["peak_memory_bytes"], (std::vector<int>{30, 40}));
  EXPECT_EQ(pipe.sink().num_failed(), 1);
}

TEST(AnswerSink, ARunWhoseLastRequestFailsStillReports) {
  SinkOnPipe pipe(1, AnswerSink::Format::kJson);
  pipe.sink().take(failed(0));
  pipe.sink().finish({});
  const auto lines = pipe.take_lines();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_TRUE(lines[0].contains("error"));
  EXPECT_TRUE(lines[0].contains("run"));
}

TEST(AnswerSink, ErrorsOfPromptsAreKeptForTheUser) {
  SinkOnPipe pipe(2, AnswerSink::Format::kText);
  pipe.sink().take(failed(0));
  pipe.sink().take(answer(1, "x"));
  EXPECT_EQ(pipe.take(), "x\n");
  ASSERT_EQ(pipe.sink().errors().size(), 1U);
  EXPECT_STREQ(pipe.sink().errors()[0].what(), "prompt 1: no good");
}

TEST(AnswerSink, TheTraceIsThatOfTheReference) {
  SinkOnPipe pipe(1, AnswerSink::Format::kJsonWithTrace);
  auto one = answer(0, "a");
  one.trace = {{.block = 0, .window_begin = 0, .window_end = 18, .unmasked = {{.position = 2, .token = 66, .confidence = 0.1F}}}};
  pipe.sink().take(std::move(one));
  pipe.sink().finish({});
  EXPECT_EQ(pipe.take_lines().at(0)["trace"], json::parse(R"([{"block": 0, "window": [0, 18], "unmasked": [[2, 66, 0.1]]}])"));
}

TEST(AnswerText, EndsAtTheFirstStopTextOrEndToken) {
  const auto text = [](const runtime::Answer& a, std::vector<std::string> stops) { return answer_text(a, stops, &demo_tokenizer()); };
  EXPECT_EQ(text(answer(0, "one two three"), {}).text, "one two three");
  EXPECT_EQ(text(answer(0, "one two three"), {"three", "two"}).text, "one ");
  EXPECT_EQ(text(answer(0, "one"), {"one"}).text, "");
  auto full = answer(0, "abcdefgh", 1);
  full.finish_reason = runtime::FinishReason::kLength;
  full.text_tokens = 1;
  EXPECT_EQ(text(full, {"zz"}).finish_reason, runtime::FinishReason::kLength);
  EXPECT_EQ(text(full, {"a"}).finish_reason, runtime::FinishReason::kStop);
  EXPECT_EQ(answer_text(full, {}, nullptr).text, "") << "without a tokenizer there is no text";
  EXPECT_TRUE(holds_stop(full.tokens, std::vector<std::string>{"a"}, demo_tokenizer()));
  EXPECT_FALSE(holds_stop(full.tokens, {}, demo_tokenizer()));
}

}  // namespace
}  // namespace unmask::launcher
