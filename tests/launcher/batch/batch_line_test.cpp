// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/batch/batch_line.h"
#include "launcher/batch/id_table.h"

namespace unmask::launcher {
namespace {

using testing::HasSubstr;
using Form = BatchLine::Form;
using Kind = RequestInput::Kind;

std::string chat(const std::string& more, const std::string& id = "a") {
  return R"({"custom_id": ")" + id + R"(", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", )" +
         R"("messages": [{"role": "user", "content": "hi"}])" + more + "}}";
}
std::string completion(const std::string& body) {
  return R"({"custom_id": "c", "method": "POST", "url": "/v1/completions", "body": {)" + body + "}}";
}

BatchLine good(const std::string& line) {
  BatchLine out = parse_batch_line(line, 7);
  EXPECT_FALSE(out.request.error.has_value()) << line << ": " << out.request.error->what();
  EXPECT_EQ(out.error_kind, "");
  return out;
}

std::string fault(const std::string& line, const std::string& kind = "invalid_request") {
  const BatchLine out = parse_batch_line(line, 7);
  if (!out.request.error) {
    ADD_FAILURE() << "accepted: " << line.substr(0, 200);
    return "";
  }
  EXPECT_EQ(out.request.error->code(), ExitCode::kBadInput);
  EXPECT_EQ(out.error_kind, kind);
  return out.request.error->what();
}

TEST(BatchLine, FormsAreToldApartPerLine) {
  const BatchLine plain = good(R"({"prompt": "x", "gen_length": 9})");
  EXPECT_EQ(plain.form, Form::kPlain);
  EXPECT_EQ(plain.request.id_json, "\"7\"");
  EXPECT_FALSE(plain.custom_id.has_value());

  const BatchLine one = good(chat(""));
  EXPECT_EQ(one.form, Form::kChat);
  EXPECT_EQ(one.custom_id, "a");
  EXPECT_EQ(one.request.id, "a");
  EXPECT_EQ(one.model, "m");
  EXPECT_EQ(one.request.kind, Kind::kMessages);
  EXPECT_EQ(one.request.text, R"([{"role":"user","content":"hi"}])");

  EXPECT_EQ(good(completion(R"("prompt": "as it is")")).form, Form::kCompletion);
  EXPECT_EQ(good(completion(R"("prompt": ["x"])")).request.text, "x");
  EXPECT_EQ(good(completion(R"("prompt": [3, 4])")).request.tokens, (std::vector<TokenId>{3, 4}));
  EXPECT_EQ(good(completion(R"("prompt": [[3, 4]])")).request.kind, Kind::kTokens);
}

TEST(BatchLine, OptionsOfBothWorlds) {
  const auto options = OptionValues(good(chat(R"(, "max_tokens": 40, "max_completion_tokens": 40, "temperature": 0.5, "seed": 3,
      "stop": ["x", "yz"], "block_length": 8, "decoder": "steps", "steps": 5, "threshold": null)")).request.sampling).sampling();
  EXPECT_EQ(options.gen_length, 40);
  EXPECT_EQ(options.block_length, 8);
  EXPECT_EQ(options.temperature, 0.5);
  EXPECT_EQ(options.seed, 3U);
  EXPECT_EQ(options.stop, (std::vector<std::string>{"x", "yz"}));
  EXPECT_EQ(options.steps, 5);
  EXPECT_EQ(OptionValues(good(chat(R"(, "stop": "x")")).request.sampling).sampling().stop, std::vector<std::string>{"x"});
}

TEST(BatchLine, NeutralValuesPass) {
  good(chat(R"(, "n": 1, "top_p": 1.0, "stream": false, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {},
      "logprobs": false, "tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "user": "someone",
      "metadata": {"a": "b"}, "stop": null, "seed": null, "max_tokens": null, "service_tier": "auto", "top_k": -1)"));
  good(chat(R"(, "store": false, "prediction": null, "audio": null, "web_search_options": null, "reasoning_effort": "none", "verbosity": "medium",
      "safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_retention": "24h", "ignore_eos": false, "min_tokens": 0)"));
  good(completion(R"("prompt": "x", "echo": false, "best_of": 1, "suffix": null, "logprobs": null)"));
}

TEST(BatchLine, WhatCannotBeHonouredIsTheRequestsError) {
  EXPECT_THAT(fault(chat(R"(, "n": 2)")), HasSubstr("n: expected 1 (nothing else can be honoured), found 2"));
  EXPECT_THAT(fault(chat(R"(, "top_p": 0.9)")), HasSubstr("top_p"));
  EXPECT_THAT(fault(chat(R"(, "reasoning_effort": "high")")), HasSubstr("reasoning_effort: expected \"none\""));
  EXPECT_THAT(fault(chat(R"(, "stream": true)")), HasSubstr("stream"));
  EXPECT_THAT(fault(chat(R"(, "logit_bias": {"5": 1})")), HasSubstr("logit_bias"));
  EXPECT_THAT(fault(chat(R"(, "tools": [{}])")), HasSubstr("tools"));
  EXPECT_THAT(fault(chat(R"(, "response_format": {"type": "json_object"})")), HasSubstr("response_format"));
  EXPECT_THAT(fault(chat(R"(, "max_tokens": 0)")), HasSubstr("max_tokens"));
  EXPECT_THAT(fault(chat(R"(, "max_tokens": -3)")), HasSubstr("found '-3'"));
  EXPECT_THAT(fault(chat(R"(, "max_tokens": 99999999999999999999999)")), HasSubstr("whole number"));
  EXPECT_THAT(fault(chat(R"(, "max_tokens": 5, "max_completion_tokens": 6)")), HasSubstr("one length"));
  EXPECT_THAT(fault(chat(R"(, "seed": -1)")), HasSubstr("seed"));
  EXPECT_THAT(fault(chat(R"(, "temperature": 1e9)")), HasSubstr("temperature"));
  EXPECT_THAT(fault(chat(R"(, "wobble": 1)")), HasSubstr("unknown key \"wobble\""));
  EXPECT_THAT(fault(chat(R"(, "model": 5)"), "invalid_json"), HasSubstr("twice"));
  EXPECT_THAT(fault(completion(R"("prompt": ["a", "b"])")), HasSubstr("one string"));
  EXPECT_THAT(fault(completion(R"("model": "m")")), HasSubstr("prompt"));
  EXPECT_THAT(fault(completion(R"("prompt": "x", "echo": true)")), HasSubstr("echo"));
  EXPECT_THAT(fault(R"({"custom_id": "a", "method": "GET", "url": "/v1/completions", "body": {}})"), HasSubstr("method"));
  EXPECT_THAT(fault(R"({"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {}})"), HasSubstr("/v1/embeddings"));
  EXPECT_THAT(fault(R"({"custom_id": "a", "method": "POST", "url": "/v1/completions"})"), HasSubstr("body"));
  EXPECT_THAT(fault(R"({"custom_id": 5, "method": "POST", "url": "/v1/completions", "body": {}})"), HasSubstr("custom_id"));
  EXPECT_THAT(fault(R"({"method": "POST", "url": "/v1/completions", "body": {}})"), HasSubstr("custom_id"));
  EXPECT_THAT(fault(R"({"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {}, "extra": 1})"), HasSubstr("extra"));
}

TEST(BatchLine, MessagesAreTextsOrPartsOfText) {
  const auto with = [](const std::string& content) {
    return R"({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": )" +
           content + "}]}}";
  };
  EXPECT_EQ(good(with(R"([{"type": "text", "text": "a"}, {"text": "b", "type": "text"}])")).request.text,
            R"([{"role":"user","content":"ab"}])");
  fault(with("null"));
  fault(with("5"));
  fault(with(R"([{"type": "image_url", "image_url": {"url": "x"}}])"));
  fault(R"({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": []}})");
  fault(R"({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": [5]}})");
  fault(R"({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": {"role": "user"}}})");
}

TEST(BatchLine, RubbishIsOneErrorAndNeverMore) {
  fault("", "invalid_json");
  fault("not json", "invalid_json");
  fault("{\"prompt\": \"\xff\xfe\"}", "invalid_json");
  fault(std::string(10000, '['), "invalid_json");
  fault(std::string(10000, '[') + std::string(10000, ']'), "invalid_json");
  fault(R"({"prompt": 1e999})", "invalid_json");
  fault("[1, 2]");
  EXPECT_EQ(parse_batch_line("[1]", 7).form, Form::kUnknown);
  EXPECT_EQ(parse_batch_line(R"({"custom_id": "mine", "method": "PUT"})", 7).custom_id, "mine") << "an error keeps its id";
  const std::string ten_megabytes(10'000'000, 'y');
  EXPECT_EQ(good(R"({"prompt": ")" + ten_megabytes + "\"}").request.text.size(), ten_megabytes.size());
  fault(R"({"prompt": ")" + ten_megabytes, "invalid_json");
  EXPECT_EQ(too_long_line(3).error_kind, "line_too_long");
}

TEST(IdTable, FindsRepeatedOnesWithinItsMemory) {
  IdTable table;
  constexpr std::int64_t kIds = 300'000;
  std::uint64_t worst = 0;
  for (std::int64_t i = 0; i < kIds; ++i) {
    ASSERT_TRUE(table.insert(format("request-{}", i)));
    worst = i > 50'000 ? std::max(worst, table.num_bytes() / static_cast<std::uint64_t>(i)) : 0;
  }
  for (std::int64_t i = 0; i < kIds; i += 7) {
    ASSERT_FALSE(table.insert(format("request-{}", i)));
  }
  EXPECT_EQ(table.size(), kIds);
  EXPECT_LE(worst, 32U) << "bytes an id";
  EXPECT_TRUE(table.insert(""));
  EXPECT_FALSE(table.insert(""));
}

}  // namespace
}  // namespace unmask::launcher
