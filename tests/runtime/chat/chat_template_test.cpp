// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/chat_template.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace unmask::runtime {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

std::string render(std::string_view source, const Json& messages = Json::array(), bool prompt = true) {
  return ChatTemplate::parse(source, "t").render(messages, {.add_generation_prompt = prompt}).text;
}

std::string refusal(std::string_view source, const Json& messages = Json::array()) {
  try {
    return "rendered: " + render(source, messages);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    return error.what();
  }
}

std::string file(const std::string& name) {
  std::ifstream stream(std::string(UNMASK_SOURCE_DIR) + "/tests/data/chat/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

const Json kHello = Json::parse(R"([{"role":"user","content":" Hi "}])");

TEST(ChatTemplate, KnownTemplates) {
  EXPECT_EQ(render(file("llada-moe.jinja"), kHello),
            "<role>SYSTEM</role>detailed thinking off<|role_end|><role>HUMAN</role> Hi <|role_end|><role>ASSISTANT</role>");
  EXPECT_EQ(render(file("dream.jinja"), kHello),
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n");
  EXPECT_THAT(render(file("qwen2.5.jinja"), kHello), HasSubstr("created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"));
  EXPECT_THAT(refusal(file("mistral.jinja"), Json::parse(R"([{"role":"assistant","content":"x"}])")), HasSubstr("roles must alternate"));
}

TEST(ChatTemplate, MarksTheUsersBytes) {
  const ChatTemplate chat = ChatTemplate::parse("<b>{{ messages[0].content|trim|upper ~ '</b>' }}", "t");
  const SourcedText result = chat.render(Json::parse(R"([{"role":"user","content":" <b>ß "}])"), {});
  EXPECT_EQ(result.text, "<b><B>SS</b>");
  ASSERT_EQ(result.user.size(), 1U);
  EXPECT_EQ(result.user[0].begin, 3U);
  EXPECT_EQ(result.user[0].end, 8U);
}

TEST(ChatTemplate, LoopElseFollowsJinja) {
  EXPECT_EQ(render("{% for x in [1, 2] %}{{ x }}{% break %}{% else %}e{% endfor %}"), "1e");
  EXPECT_EQ(render("{% for x in [] %}{% else %}e{% endfor %}"), "e");
  EXPECT_EQ(render("{% for x in [1] %}{{ x }}{% else %}e{% endfor %}"), "1");
}

TEST(ChatTemplate, LimitsEndEverything) {
  EXPECT_THAT(refusal("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"), HasSubstr("too much work"));
  EXPECT_THAT(refusal("{{ 'x' * 1000000000000 }}"), HasSubstr("longer than the limit"));
  EXPECT_THAT(refusal("{% set ns = namespace(a=[]) %}{% for i in range(1000) %}{% set ns.a = [ns.a] %}{% endfor %}"), HasSubstr("nested"));
  EXPECT_THAT(refusal("{{ " + std::string(5000, '(') + std::string(5000, ')') + " }}"), HasSubstr("nested deeper"));
  EXPECT_THAT(refusal("{{ 1" + [] { std::string s; for (int i = 0; i < 5000; ++i) { s += "+1"; } return s; }() + " }}"), HasSubstr("deeper"));
  EXPECT_THAT(refusal("{{ dict(z=0" + [] { std::string s; for (int i = 0; i < 300; ++i) { s += ",a" + std::to_string(i) + "=0"; } return s; }() + ") }}"),
              HasSubstr("more than 255 arguments"));
  EXPECT_THAT(refusal("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns.me.me.x.y }}"), HasSubstr("undefined"));
}

TEST(ChatTemplate, RefusesWithLineAndConstruct) {
  EXPECT_THAT(refusal("a\n{% macro f() %}{% endmacro %}"), AllOf(HasSubstr("line 2"), HasSubstr("macro")));
  EXPECT_THAT(refusal("{{ x|wordwrap }}"), HasSubstr("wordwrap"));
  EXPECT_THAT(refusal("{{ 9223372036854775807 + 1 }}"), HasSubstr("64 bits"));
  EXPECT_THAT(refusal("{{ strftime_now('%Y') }}"), HasSubstr("strftime_now"));
  EXPECT_THAT(refusal("{{ messages[0].content.x }}"), HasSubstr("undefined"));
}

TEST(ChatTemplate, TenMegabytesGrowingInALoop) {
  Json messages = Json::array();
  for (int i = 0; i < 1000; ++i) {
    messages.push_back({{"role", "user"}, {"content", std::string(10'000, 'x')}});
  }
  const std::string text = render("{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t + m.content %}{% endfor %}{{ ns.t }}", messages);
  EXPECT_EQ(text.size(), 10'000'000U);
}

TEST(ChatTemplate, ReadsTheFolder) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "chat_template_test";
  std::filesystem::create_directories(folder);
  std::filesystem::remove(folder / "chat_template.jinja");
  const auto write = [&](const char* name, const std::string& text) { std::ofstream(folder / name, std::ios::binary) << text; };
  std::filesystem::remove(folder / "tokenizer_config.json");
  EXPECT_FALSE(ChatTemplate::read(folder).has_value());
  write("tokenizer_config.json", R"({"bos_token":{"content":"<s>"},"eos_token":"</s>","chat_template":[{"name":"default","template":"{{ bos_token ~ eos_token }}"}]})");
  EXPECT_EQ(ChatTemplate::read(folder)->render(Json::array(), {}).text, "<s></s>");
  write("chat_template.jinja", "{{ eos_token }}!");
  EXPECT_EQ(ChatTemplate::read(folder)->render(Json::array(), {}).text, "</s>!");
  write("tokenizer_config.json", R"({"bos_token":"a","bos_token":"b"})");
  EXPECT_THROW(ChatTemplate::read(folder), Error);
}

}  // namespace
}  // namespace unmask::runtime
