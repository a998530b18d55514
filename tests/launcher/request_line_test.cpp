// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/text/request_line.h"

namespace unmask::launcher {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Kind = RequestInput::Kind;

RequestInput good(std::string_view line) {
  RequestInput request = parse_request_line(line, 7);
  EXPECT_FALSE(request.error.has_value()) << line << ": " << request.error->what();
  return request;
}

std::string fault(std::string_view line) {
  const RequestInput request = parse_request_line(line, 7);
  if (!request.error) {
    ADD_FAILURE() << "accepted: " << line;
    return "";
  }
  EXPECT_EQ(request.error->code(), ExitCode::kBadInput);
  return request.error->what();
}

TEST(RequestLine, PromptsComeInThreeForms) {
  const auto text = good(R"({"prompt": "Sort \u00fc\n", "id": "a"})");
  EXPECT_EQ(text.kind, Kind::kText);
  EXPECT_EQ(text.text, "Sort \xC3\xBC\n");
  EXPECT_EQ(text.id, "a");
  EXPECT_EQ(text.id_json, R"("a")");

  const auto tokens = good(R"({"prompt_tokens": [5, 0, 2147483647], "id": -12})");
  EXPECT_EQ(tokens.kind, Kind::kTokens);
  EXPECT_EQ(tokens.tokens, (std::vector<TokenId>{5, 0, 2147483647}));
  EXPECT_EQ(tokens.id, "-12");
  EXPECT_EQ(tokens.id_json, "-12") << "an id comes back as it was written";

  const auto messages = good(R"({"messages": [{"role": "user", "content": "x", "a": 1}]})");
  EXPECT_EQ(messages.kind, Kind::kMessages);
  EXPECT_EQ(messages.text, R"([{"role":"user","content":"x","a":1}])") << "members keep their order";
  EXPECT_EQ(messages.id, "7");
  EXPECT_EQ(messages.id_json, R"("7")");

  EXPECT_TRUE(good(R"({"prompt": ""})").text.empty());
  EXPECT_TRUE(good(R"({"prompt_tokens": []})").tokens.empty());
}

TEST(RequestLine, SamplingOptionsHaveTheNamesOfTheCommandLine) {
  const auto request = good(
      R"({"prompt_tokens": [1], "gen_length": 40, "threshold": 0.1, "factor": 2, "decoder": "steps", "steps": 8,
          "stop_at_eos": false, "stop": ["a", "b"], "seed": 18446744073709551615, "cache": "none", "look_before": 0,
          "smoothing": true, "smoothing_cap": 0.5, "cfg_scale": 1.5})");
  const auto options = OptionValues(request.sampling).sampling();
  EXPECT_EQ(options.gen_length, 40);
  EXPECT_EQ(options.threshold, 0.1);
  EXPECT_EQ(options.factor, 2.0);
  EXPECT_EQ(options.decoder, runtime::DecoderKind::kSteps);
  EXPECT_EQ(options.steps, 8);
  EXPECT_FALSE(options.stop_at_eos);
  EXPECT_TRUE(options.smoothing);
  EXPECT_EQ(options.smoothing_cap, 0.5);
  EXPECT_EQ(options.cfg_scale, 1.5);
  EXPECT_EQ(options.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(options.seed, 18446744073709551615U);
  EXPECT_EQ(OptionValues(good(R"({"prompt": "", "stop": "x"})").sampling).sampling().stop, std::vector<std::string>{"x"});
}

TEST(RequestLine, WhatCannotRunSaysWhy) {
  EXPECT_THAT(fault(""), HasSubstr("line 7"));
  EXPECT_THAT(fault("{\"prompt\": \"\xff\"}"), HasSubstr("line 7"));
  EXPECT_THAT(fault("[1]"), HasSubstr("a JSON object"));
  EXPECT_THAT(fault(R"({"id": "a"})"), HasSubstr("exactly one of"));
  EXPECT_THAT(fault(R"({"prompt": "a", "prompt_tokens": [1]})"), HasSubstr("found 2"));
  EXPECT_THAT(fault(R"({"prompt": "a", "prompt": "b"})"), HasSubstr("twice"));
  EXPECT_THAT(fault(R"({"prompt": 5})"), HasSubstr("a string"));
  EXPECT_THAT(fault(R"({"prompt": "a", "gen-length": 5})"), HasSubstr("unknown key \"gen-length\""));
  EXPECT_THAT(fault(R"({"prompt": "a", "model": "x"})"), HasSubstr("unknown key"));
  EXPECT_THAT(fault(R"({"prompt": "a", "gen_length": 0})"), AllOf(HasSubstr("gen_length"), HasSubstr("from 1")));
  EXPECT_THAT(fault(R"({"prompt": "a", "gen_length": 5.0})"), HasSubstr("whole number"));
  EXPECT_THAT(fault(R"({"prompt": "a", "gen_length": "5"})"), HasSubstr("whole number"));
  EXPECT_THAT(fault(R"({"prompt": "a", "gen_length": null})"), HasSubstr("whole number"));
  EXPECT_THAT(fault(R"({"prompt": "a", "threshold": -1})"), HasSubstr("from 0 to 1"));
  EXPECT_THAT(fault(R"({"prompt": "a", "stop_at_eos": "on"})"), HasSubstr("true or false"));
  EXPECT_THAT(fault(R"({"prompt": "a", "stop": [""]})"), HasSubstr("not empty"));
  EXPECT_THAT(fault(R"({"prompt": "a", "cache": "full"})"), HasSubstr("none, prefix, dual, vicinity"));
  EXPECT_THAT(fault(R"({"prompt": "a", "cfg_scale": -0.5})"), HasSubstr("from 0 to 100"));
  EXPECT_THAT(fault(R"({"prompt_tokens": [-1]})"), HasSubstr("token ids"));
  EXPECT_THAT(fault(R"({"prompt_tokens": [2147483648]})"), HasSubstr("token ids"));
  EXPECT_THAT(fault(R"({"prompt_tokens": [18446744073709551615]})"), HasSubstr("token ids"));
  EXPECT_THAT(fault(R"({"prompt_tokens": "1,2"})"), HasSubstr("an array"));
  EXPECT_THAT(fault(R"({"messages": [{"role": "user"}]})"), HasSubstr("content"));
  EXPECT_THAT(fault(R"({"messages": {"role": "user", "content": "x"}})"), HasSubstr("an array"));
  EXPECT_THAT(fault(R"({"prompt": "a", "id": [1]})"), HasSubstr("id:"));
  EXPECT_THAT(fault(std::string(100000, '[')), HasSubstr("deep"));
}

TEST(RequestLine, ARefusedLineKeepsItsId) {
  const auto request = parse_request_line(R"({"id": "mine", "prompt": "a", "gen_length": 0})", 3);
  ASSERT_TRUE(request.error.has_value());
  EXPECT_EQ(request.id_json, R"("mine")");
  EXPECT_EQ(parse_request_line("{", 3).id_json, R"("3")");
}

TEST(TokenList, IdsSeparatedByCommas) {
  EXPECT_EQ(parse_token_list("1, 2,3 ", "--prompt-tokens"), (std::vector<TokenId>{1, 2, 3}));
  EXPECT_TRUE(parse_token_list("", "x").empty());
  for (const char* wrong : {"1,", ",1", "1 2", "-1", "a", "1,,2", "2147483648", "1.5"}) {
    EXPECT_THROW(parse_token_list(wrong, "x"), Error) << wrong;
  }
}

TEST(Messages, AnArrayOrAnObjectThatHoldsIt) {
  const std::string array = R"([{"role":"user","content":"x"}])";
  EXPECT_EQ(parse_messages(array, "f"), array);
  EXPECT_EQ(parse_messages(R"({"model": "m", "messages": )" + array + "}", "f"), array);
  EXPECT_THROW(parse_messages(R"({"role": "user"})", "f"), Error);
}

}  // namespace
}  // namespace unmask::launcher
