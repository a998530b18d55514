// SPDX-License-Identifier: Apache-2.0
// What a tokenizer.json may not be: each refusal is Error(kBadInput) and names the thing.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/runtime/tokenizer/small_tokenizer.h"

namespace unmask::runtime {
namespace {

using nlohmann::json;

void expect_refused(const std::string& text, const std::string& what) {
  try {
    Tokenizer::parse(text, "file.json");
    ADD_FAILURE() << "accepted, expected a refusal with: " << what;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    EXPECT_THAT(error.what(), testing::HasSubstr(what));
    EXPECT_THAT(error.what(), testing::HasSubstr("file.json"));
  }
}

/// A good file with the value at `pointer` replaced.
std::string with(const std::string& pointer, const json& value) {
  json file = small_tokenizer({{"a", "b"}});
  file[json::json_pointer(pointer)] = value;
  return file.dump();
}

std::string with_pattern(const std::string& pattern) {
  return with("/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
}

TEST(Refused, WhatIsNoJson) {
  expect_refused("", "not valid JSON");
  expect_refused("{\"model\": {\"vocab\": {\"a\": 1, ", "not valid JSON at byte");
  expect_refused("[]", "expected a JSON object");
  expect_refused("7", "expected a JSON object");
  expect_refused("{\"model\": {\"vocab\": {\"\\ud800\": 1}}}", "not valid JSON");
  expect_refused("{\"x\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}", "deep");
}

TEST(Refused, WhatIsNoFile) {
  const auto pipe = std::filesystem::path(testing::TempDir()) / format("tokenizer_refusals_test.{}", ::getpid());
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THROW(Tokenizer::read(pipe), Error);  // without waiting for somebody to write
  std::filesystem::remove(pipe);
  EXPECT_THROW(Tokenizer::read(pipe), Error);
}

TEST(Refused, WhatIsThereTwice) {
  expect_refused(R"({"model": {}, "model": {}})", "\"model\" stands twice");
  const std::string good = small_tokenizer().dump();
  expect_refused(good.substr(0, good.size() - 1) + R"(, "version": "1.0"})", "\"version\" stands twice");
  std::string twice = good;
  const std::string entry = "\"A\":65,";
  twice.insert(twice.find(entry), entry);
  expect_refused(twice, "id 65 is given to both");
  twice.replace(twice.find(entry), entry.size(), "\"A\":700,");
  expect_refused(twice, "\"A\" stands twice");
}

TEST(Refused, VocabularyEntriesOutOfRange) {
  expect_refused(with("/model/vocab/zz", -1), "has id -1");
  expect_refused(with("/model/vocab/zz", 1'000'000'000), "has id 1000000000");
  expect_refused(with("/model/vocab/zz", 18446744073709551615U), "has id");
  expect_refused(with("/model/vocab/zz", 65), "id 65 is given to both");
  expect_refused(with("/model/vocab/zz", 1.5), "expected a whole number");
  expect_refused(with("/model/vocab/zz", "1"), "expected a whole number");
  expect_refused(with("/model/vocab/zz", json::object()), "holds a object");
  json empty = small_tokenizer();
  empty["model"]["vocab"][""] = 256;
  expect_refused(empty.dump(), "is empty");
  expect_refused(with("/model/vocab", json::array()), "\"vocab\" is no object");
}

TEST(Refused, MergesThatAreNone) {
  expect_refused(with("/model/merges", json::array({json::array({"a", "z\xC3\xA4"})})), "not in \"vocab\"");
  expect_refused(with("/model/merges", json::array({json::array({"b", "a"})})), "names \"ba\"");
  expect_refused(with("/model/merges", json::array({json::array({"a"})})), "1 parts");
  expect_refused(with("/model/merges", json::array({json::array({"a", "b", "c"})})), "more than 2 parts");
  expect_refused(with("/model/merges", json::array({"a b", json::array({"a", "b"})})), "both texts and pairs");
  expect_refused(with("/model/merges", json::array({"a b c"})), "not two tokens");
  expect_refused(with("/model/merges", json::array({"ab"})), "not two tokens");
  expect_refused(with("/model/merges", json::array({1})), "holds a number");
  expect_refused(with("/model/merges", nullptr), "\"merges\" is no array");
}

TEST(Refused, ComponentsByName) {
  expect_refused(with("/model/type", "Unigram"), "Unigram");
  expect_refused(with("/model/byte_fallback", true), "byte_fallback");
  expect_refused(with("/model/dropout", 0.1), "dropout");
  expect_refused(with("/model/continuing_subword_prefix", "##"), "continuing_subword_prefix");
  expect_refused(with("/model/end_of_word_suffix", "</w>"), "end_of_word_suffix");
  expect_refused(with("/model/new_feature", 1), "new_feature");
  expect_refused(with("/normalizer", {{"type", "NFKC"}}), "NFKC");
  expect_refused(with("/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "Lowercase"}}}}}), "Lowercase");
  expect_refused(with("/pre_tokenizer", {{"type", "Metaspace"}}), "Metaspace");
  expect_refused(with("/decoder", {{"type", "WordPiece"}}), "WordPiece");
  expect_refused(with("/decoder", nullptr), "decoder");
  expect_refused(with("/post_processor", {{"type", "BertProcessing"}}), "BertProcessing");
  expect_refused(with("/truncation", {{"max_length", 5}}), "truncation");
  expect_refused(with("/padding", {{"length", 5}}), "padding");
  expect_refused(with("/version", "2.0"), "2.0");
  expect_refused(with("/extra", 1), "extra");
}

TEST(Refused, AddedTokensThatContradictTheVocabulary) {
  const auto token = [](const json& id, const std::string& content) {
    return json{{"id", id},         {"content", content}, {"special", true},      {"normalized", false},
                {"lstrip", false},  {"rstrip", false},    {"single_word", false}};
  };
  expect_refused(with("/added_tokens", json::array({token(300, "<s>")})), "gets 257");
  expect_refused(with("/added_tokens", json::array({token(257, "A")})), "gets 65");
  expect_refused(with("/added_tokens", json::array({token(257, "<s>"), token(258, "<s>")})), "twice");
  expect_refused(with("/added_tokens", json::array({token(-1, "<s>")})), "id -1");
  expect_refused(with("/added_tokens", json::array({token("257", "<s>")})), "whole number");
  expect_refused(with("/added_tokens", json::array({token(257, "")})), "empty");
  expect_refused(with("/added_tokens", json::array({token(257, std::string(5000, 'x'))})), "5000 bytes");
  expect_refused(with("/added_tokens", json::array({{{"id", 257}, {"content", "<s>"}}})), "special");
}

TEST(Refused, PatternsWithoutACertainEqual) {
  const std::vector<std::string> patterns = {"(",    "a)",     "[a",        "[[:alpha:]]", "[a&&b]",    "[a[b]]",     "\\h",        "\\R",    "\\K",
                                             "\\1",  "\\p{L",  "\\p{Foo}",  "\\pL",        "a**",       "a{2}+",      "a{2}?",      "a{,2}",  "a{3,2}",
                                             "(?s:.)", "a(?i)b", "(?<n>a)", "(?i:stop)",   "(?i:\xC3\xA9)", "(?i:\\p{Lu})", "\\xff", "\\x{110000}", "*a",
                                             "\\b",  "(?#x)",  "[]a]",      "a{2}{3}",     "\\",         "(?i:f\\x66)"};
  for (const std::string& pattern : patterns) {
    SCOPED_TRACE(pattern);
    expect_refused(with_pattern(pattern), "not supported");
  }
}

TEST(Refused, TextsOnWhichAPatternRunsWild) {
  const Tokenizer tokenizer = Tokenizer::parse(with_pattern("(?:a|aa)+(?=\\p{N})"), "file.json");
  EXPECT_THROW(tokenizer.encode(SourcedText::trusted(std::string(200, 'a') + "c")), Error);
}

TEST(Patterns, AMatchThatNeedsMoreThanTheFirstStack) {
  const Tokenizer tokenizer = Tokenizer::parse(with_pattern("(?:a|bb)+"), "file.json");
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted(std::string(300'000, 'a') + "b")).size(), 300'001U) << "cut in front of the b: no merge";
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("ab")).size(), 2U);
}

TEST(Refused, FilesThatAreNotThere) { EXPECT_THROW(Tokenizer::read("/nonexistent/tokenizer.json"), Error); }

}  // namespace
}  // namespace unmask::runtime
