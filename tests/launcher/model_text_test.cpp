// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include <nlohmann/json.hpp>

#include "launcher/io/safetensors_writer.h"
#include "launcher/text/model_text.h"
#include "runtime/safetensors.h"

namespace unmask::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::filesystem::path kDemo = UNMASK_SOURCE_DIR "/models/demo";

/// A folder of its own per test, removed afterwards.
class Folder : public testing::Test {
 protected:
  Folder() : path_(std::filesystem::temp_directory_path() / format("unmask-model-text-{}", ::getpid())) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() override { std::filesystem::remove_all(path_); }
  void put(const std::string& name, const std::string& text) const { std::ofstream(path_ / name) << text; }

  std::filesystem::path path_;
};

runtime::ModelConfig config(std::optional<TokenId> mask, std::vector<TokenId> ends) {
  runtime::ModelConfig out;
  out.vocab_size = 512;
  out.mask_token = mask;
  out.eos_tokens = std::move(ends);
  return out;
}

RequestInput text_input(const std::string& text) {
  RequestInput input;
  input.text = text;
  return input;
}

TEST(EncodePrompt, TheDemosQuestionsBecomeItsPrompts) {
  ModelText model;
  model.read(kDemo);
  std::ifstream file(UNMASK_SOURCE_DIR "/tests/data/demo/decode.json");
  const auto cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), 60U);
  for (const auto& one : cases) {
    EXPECT_EQ(encode_prompt(model, text_input(one["question"]), {}), one["prompt"].get<std::vector<TokenId>>()) << one["question"];
  }
}

TEST(EncodePrompt, RawSpecialSystemAndMessages) {
  ModelText model;
  model.read(kDemo);
  const auto plain = model.tokenizer->encode(runtime::SourcedText::all_user("<|mask|>"));
  const RequestInput mask = text_input("<|mask|>");
  EXPECT_EQ(encode_prompt(model, mask, {.chat = PromptOptions::Template::kRaw, .system = {}}), plain);
  EXPECT_THAT(encode_prompt(model, mask, {.chat = PromptOptions::Template::kRaw, .special = PromptOptions::Special::kRecognise, .system = {}}),
              ElementsAre(508));
  const auto in_template = encode_prompt(model, mask, {});
  EXPECT_EQ(std::ranges::count(in_template, 508), 0) << "a typed special token stays text inside the template";
  EXPECT_EQ(std::ranges::count(in_template, 509), 2) << "the template's own are recognised";
  const auto recognised = encode_prompt(model, mask, {.special = PromptOptions::Special::kRecognise, .system = {}});
  EXPECT_EQ(std::ranges::count(recognised, 508), 1);

  RequestInput messages;
  messages.kind = RequestInput::Kind::kMessages;
  messages.text = R"([{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}])";
  EXPECT_EQ(encode_prompt(model, text_input("hi"), {.system = "Be brief."}), encode_prompt(model, messages, {}));
  EXPECT_EQ(encode_prompt(model, messages, {.system = "Another."}), encode_prompt(model, messages, {})) << "its own one stays";

  RequestInput tokens;
  tokens.kind = RequestInput::Kind::kTokens;
  tokens.tokens = {5, 6};
  EXPECT_THAT(encode_prompt(model, tokens, {.system = "x"}), ElementsAre(5, 6));
}

TEST_F(Folder, WithoutTokenizerOrTemplateTheUserIsToldWhatIsMissing) {
  ModelText nothing;
  nothing.read(path_);
  EXPECT_THROW(encode_prompt(nothing, text_input("x"), {}), Error);
  std::filesystem::copy_file(kDemo / "tokenizer.json", path_ / "tokenizer.json");
  ModelText no_template;
  no_template.read(path_);
  EXPECT_EQ(encode_prompt(no_template, text_input("x y"), {}),
            no_template.tokenizer->encode(runtime::SourcedText::all_user("x y")))
      << "a prompt is then taken as it is";
  RequestInput messages;
  messages.kind = RequestInput::Kind::kMessages;
  messages.text = "[]";
  EXPECT_THROW(encode_prompt(no_template, messages, {}), Error);
  EXPECT_THROW(encode_prompt(no_template, text_input("x"), {.system = "s"}), Error);
}

TEST_F(Folder, TheMaskTokenComesFromConfigThenTokenizerUnlessGiven) {
  const auto tokenizer = runtime::Tokenizer::read(kDemo / "tokenizer.json");
  EXPECT_EQ(find_special_tokens(path_, config(3, {}), &tokenizer, {}).mask, 3);
  EXPECT_EQ(find_special_tokens(path_, config(3, {}), &tokenizer, 4).mask, 4);
  EXPECT_EQ(find_special_tokens(path_, config({}, {}), &tokenizer, {}).mask, 508) << "<|mask|>";
  put("tokenizer_config.json", R"({"mask_token": {"content": "<role>"}})");
  EXPECT_EQ(find_special_tokens(path_, config({}, {}), &tokenizer, {}).mask, 509);
  try {
    find_special_tokens(path_, config({}, {}), nullptr, {});
    ADD_FAILURE() << "found a mask token";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    EXPECT_THAT(error.what(), HasSubstr("--mask-token-id"));
  }
  EXPECT_THROW(find_special_tokens(path_, config({}, {}), nullptr, 512), Error) << "outside the vocabulary";
}

TEST_F(Folder, EndTokensAreGatheredAndTheFirstOneFills) {
  const auto tokenizer = runtime::Tokenizer::read(kDemo / "tokenizer.json");
  put("generation_config.json", R"({"eos_token_id": [40, 507]})");
  put("tokenizer_config.json", R"({"eos_token": "<|endoftext|>"})");
  EXPECT_THAT(find_special_tokens(path_, config(1, {507, 30}), &tokenizer, {}).ends, ElementsAre(40, 507, 30, 511));
  put("generation_config.json", R"({"eos_token_id": 30})");
  EXPECT_THAT(find_special_tokens(path_, config(1, {}), nullptr, {}).ends, ElementsAre(30));
  put("generation_config.json", R"({"eos_token_id": null})");
  EXPECT_THAT(find_special_tokens(path_, config(1, {}), nullptr, {}).ends, ElementsAre());
  for (const char* wrong : {R"({"eos_token_id": 512})", R"({"eos_token_id": -1})", R"({"eos_token_id": "x"})", R"([1])",
                            R"({"eos_token_id": 18446744073709551615})", R"({"eos_token_id": [[1]]})", "{"}) {
    put("generation_config.json", wrong);
    EXPECT_THROW(find_special_tokens(path_, config(1, {}), nullptr, {}), Error) << wrong;
  }
}

TEST_F(Folder, ASafetensorsFileAppearsWholeOrNotAtAll) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const std::vector<std::int64_t> counts = {7};
  const std::vector<SafetensorsWriter::Tensor> tensors = {{.name = "counts", .dtype = "I64", .shape = {1}, .bytes = 8},
                                                          {.name = "x", .dtype = "F32", .shape = {2, 3}, .bytes = 24}};
  const auto file = path_ / "out.safetensors";
  {
    SafetensorsWriter unfinished(file, tensors);
    unfinished.append(std::as_bytes(std::span(counts)));
  }
  EXPECT_TRUE(std::filesystem::is_empty(path_));
  {
    SafetensorsWriter writer(file, tensors);
    writer.append(std::as_bytes(std::span(counts)));
    writer.append(std::as_bytes(std::span(values)).first(8));
    writer.append(std::as_bytes(std::span(values)).subspan(8));
    EXPECT_FALSE(std::filesystem::exists(file));
    writer.commit();
  }
  const runtime::SafetensorsFile read(file);
  ASSERT_EQ(read.tensors.size(), 2U);
  EXPECT_EQ(read.tensors.at("x").shape, (std::vector<std::uint64_t>{2, 3}));
  std::vector<float> got(6);
  read.file.read(read.tensors.at("x").begin, std::as_writable_bytes(std::span(got)));
  EXPECT_EQ(got, values);
  try {
    SafetensorsWriter nowhere(path_ / "missing" / "x", tensors);
    ADD_FAILURE() << "wrote into a folder that is not there";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kIo);
  }
}

}  // namespace
}  // namespace unmask::launcher
