// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/runtime/tokenizer/small_tokenizer.h"

namespace unmask::runtime {
namespace {

using Ids = std::vector<TokenId>;

SourcedText text_of(std::initializer_list<std::pair<const char*, bool>> parts) {
  SourcedText text;
  for (const auto& [part, is_user] : parts) {
    const std::size_t begin = text.text.size();
    text.text += part;
    if (is_user) {
      text.user.push_back({begin, text.text.size()});
    }
  }
  return text;
}

TEST(Special, OfTheUserIsPlainText) {
  nlohmann::json json = small_tokenizer();
  const TokenId end = add_token(json, "<|end|>", {.special = true});
  const TokenId plain = add_token(json, "<|", {});
  const Tokenizer tokenizer = load(json);
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("a<|end|>")), (Ids{'a', end}));
  // As the reference with encode_special_tokens: the match is passed over as a whole, "<|" in it is not looked for.
  EXPECT_EQ(tokenizer.encode(SourcedText::all_user("a<|end|>")), bytes("a<|end|>"));
  EXPECT_EQ(tokenizer.encode(SourcedText::all_user("a<|e")), (Ids{'a', plain, 'e'}));
  // One byte of the user's anywhere is enough.
  for (std::size_t at = 0; at < 7; ++at) {
    SourcedText text = SourcedText::trusted("<|end|>");
    text.user = {{at, at + 1}};
    const Ids ids = tokenizer.encode(text);
    EXPECT_EQ(std::count(ids.begin(), ids.end(), end), 0) << at;
  }
  // Right beside it is not in it.
  EXPECT_EQ(tokenizer.encode(text_of({{"x", true}, {"<|end|>", false}, {"y", true}})), (Ids{'x', end, 'y'}));
}

TEST(Special, OfTheTemplateSurvivesWhatTheUserPutsBesideIt) {
  nlohmann::json json = small_tokenizer();
  const TokenId a = add_token(json, "<a>", {.special = true});
  const TokenId b = add_token(json, "<b>", {.special = true});
  add_token(json, "<a><b>", {.special = true});
  const Tokenizer tokenizer = load(json);
  EXPECT_EQ(tokenizer.encode(text_of({{"<a>", false}, {"<b>", true}})), (Ids{a} + bytes("<b>")));
  EXPECT_EQ(tokenizer.encode(text_of({{"<a>", true}, {"<b>", false}})), (bytes("<a>") + Ids{b}));
  EXPECT_EQ(tokenizer.encode(text_of({{"<a", true}, {"><b>", false}})), (bytes("<a>") + Ids{b}));
}

TEST(Special, NormalizedOneIsFollowedThroughNormalisation) {
  nlohmann::json json = small_tokenizer();
  json["normalizer"] = {{"type", "NFC"}};
  // Full-width bars beside other characters beyond ASCII; e + acute becomes one character.
  const TokenId user = add_token(json, "<\xEF\xBD\x9Cuser\xEF\xBD\x9C", {.special = true, .normalized = true});
  const TokenId acute = add_token(json, "\xC3\xA9!", {.special = true, .normalized = true});
  const Tokenizer tokenizer = load(json);
  const char* chinese = "\xE4\xBD\xA0";
  EXPECT_EQ(tokenizer.encode(text_of({{chinese, true}, {"<\xEF\xBD\x9Cuser\xEF\xBD\x9C", false}, {chinese, true}})),
            (bytes(chinese) + Ids{user} + bytes(chinese)));
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("e\xCC\x81!")), (Ids{acute}));
  EXPECT_EQ(tokenizer.encode(text_of({{"e", false}, {"\xCC\x81", true}, {"!", false}})), bytes("\xC3\xA9!"));
  EXPECT_EQ(tokenizer.encode(text_of({{"e\xCC\x81", false}, {"!", true}})), bytes("\xC3\xA9!"));
  EXPECT_EQ(tokenizer.encode(text_of({{"e\xCC\x81", true}, {"e\xCC\x81!", false}})), (bytes("\xC3\xA9") + Ids{acute}));
}

TEST(Flags, StripEatsWhiteSpaceOnItsSide) {
  nlohmann::json json = small_tokenizer();
  const TokenId left = add_token(json, "<L", {.lstrip = true});
  const TokenId right = add_token(json, "R>", {.rstrip = true});
  const Tokenizer tokenizer = load(json);
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("a \t\xC2\xA0<L b")), (Ids{'a', left, ' ', 'b'}));
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("a R>\xE3\x80\x80\n b")), (Ids{'a', ' ', right, 'b'}));
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("R>  <L")), (Ids{right, left}));
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("R>\xE1\xA0\x8E")), (Ids{right} + bytes("\xE1\xA0\x8E")));  // U+180E is none
}

TEST(Flags, SingleWordNeedsEdgesOnBothSides) {
  nlohmann::json json = small_tokenizer();
  const TokenId word = add_token(json, "cat", {.single_word = true});
  const Tokenizer tokenizer = load(json);
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("cat-cat")), (Ids{word, '-', word}));
  for (const char* text : {"cats", "_cat", "\xC3\xA9"
                                           "cat",
                           "cat1", "cat\xCC\x81", "\xE2\x92\xB6"
                                                  "cat"}) {
    EXPECT_EQ(tokenizer.encode(SourcedText::trusted(text)), bytes(text)) << text;
  }
}

TEST(Matching, LeftmostThenLongest) {
  nlohmann::json json = small_tokenizer();
  const TokenId ab = add_token(json, "ab", {});
  const TokenId abcd = add_token(json, "abcd", {});
  const TokenId bcde = add_token(json, "bcde", {});
  const Tokenizer tokenizer = load(json);
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("abcde")), (Ids{abcd, 'e'}));
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("abce")), (Ids{ab, 'c', 'e'}));
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("xbcde")), (Ids{'x', bcde}));
}

TEST(Matching, NormalizedTokensAreFoundInTheNormalForm) {
  nlohmann::json json = small_tokenizer();
  json["normalizer"] = {{"type", "NFC"}};
  const TokenId composed = add_token(json, "\xC3\xA9x", {.normalized = true});
  const TokenId raw = add_token(json, "o\xCC\x81", {});
  const Tokenizer tokenizer = load(json);
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("e\xCC\x81x")), (Ids{composed}));
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("o\xCC\x81\xC3\xB3")), (Ids{raw} + bytes("\xC3\xB3")));
}

}  // namespace
}  // namespace unmask::runtime
