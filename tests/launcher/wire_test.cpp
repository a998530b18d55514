// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "launcher/text/wire.h"

namespace unmask::launcher {
namespace {

TEST(Wire, RequestsArriveAsTheyWereSent) {
  const std::vector<TokenRequest> sent = {
      {.number = 0, .id = "", .prompt = {}, .sampling = {}},
      {.number = 5, .id = "an id", .prompt = {3, 1, 4}, .sampling = {{"gen-length", {"9"}}, {"stop", {"", "x\ny"}}}}};
  const auto got = unpack_requests(pack(sent));
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[1].number, 5);
  EXPECT_EQ(got[1].id, "an id");
  EXPECT_EQ(got[1].prompt, sent[1].prompt);
  EXPECT_EQ(got[1].sampling, sent[1].sampling);
  const auto request = got[1].to_request();
  EXPECT_EQ(request.options.gen_length, 9);
  EXPECT_EQ(request.options.block_length, 32) << "what nobody gave has its default";
  EXPECT_TRUE(unpack_requests(pack(std::span<const TokenRequest>{})).empty());
}

TEST(Wire, AnswersAndDraftsArriveAsTheyWereSent) {
  runtime::Answer answer;
  answer.number = 4;
  answer.tokens = {7, 8, 9};
  answer.text_tokens = 2;
  answer.passes = 3;
  answer.rows = 30;
  answer.finish_reason = runtime::FinishReason::kStop;
  answer.trace = {{.block = 1, .window_begin = 2, .window_end = 9, .unmasked = {{.position = 3, .token = 8, .confidence = 0.5F}}}};
  const auto got = std::get<runtime::Answer>(unpack_posted(pack(answer)));
  EXPECT_EQ(got.tokens, answer.tokens);
  EXPECT_EQ(got.text_tokens, 2);
  EXPECT_EQ(got.passes, 3);
  EXPECT_EQ(got.rows, 30);
  EXPECT_EQ(got.finish_reason, runtime::FinishReason::kStop);
  ASSERT_EQ(got.trace.size(), 1U);
  EXPECT_EQ(got.trace[0].window_end, 9);
  EXPECT_EQ(got.trace[0].unmasked[0].confidence, 0.5F);
  EXPECT_FALSE(got.error.has_value());

  runtime::Answer failed;
  failed.number = 2;
  failed.error.emplace(ExitCode::kBadInput, "why");
  const auto bad = std::get<runtime::Answer>(unpack_posted(pack(failed)));
  ASSERT_TRUE(bad.error.has_value());
  EXPECT_EQ(bad.error->code(), ExitCode::kBadInput);
  EXPECT_STREQ(bad.error->what(), "why");

  const auto draft = std::get<Draft>(unpack_posted(pack(Draft{.number = 6, .passes = 2, .unmasked = {{1, 2, 0.25F}}})));
  EXPECT_EQ(draft.number, 6);
  EXPECT_EQ(draft.unmasked.at(0).token, 2);
}

TEST(Wire, ABrokenMessageIsAnError) {
  auto bytes = pack(std::vector<TokenRequest>{{.number = 1, .id = "abc", .prompt = {1, 2}, .sampling = {}}});
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THROW(unpack_requests(std::span(bytes).first(length)), Error) << length;
  }
}

}  // namespace
}  // namespace unmask::launcher
