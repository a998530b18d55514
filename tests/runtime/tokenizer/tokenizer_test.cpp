// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "tests/runtime/tokenizer/small_tokenizer.h"

namespace unmask::runtime {
namespace {

using Ids = std::vector<TokenId>;
constexpr auto kKeep = Tokenizer::SpecialTokens::kKeep;
constexpr auto kSkip = Tokenizer::SpecialTokens::kSkip;

Tokenizer demo() { return Tokenizer::read(std::string(UNMASK_SOURCE_DIR) + "/models/demo/tokenizer.json"); }

std::string streamed(const Tokenizer& tokenizer, const Ids& ids, Tokenizer::SpecialTokens special) {
  StreamDecoder stream(tokenizer, special);
  std::string text;
  for (const TokenId id : ids) {
    text += stream.push(id);
  }
  return text + stream.finish();
}

TEST(Demo, KnowsItsTokensAndGivesTextBack) {
  const Tokenizer tokenizer = demo();
  EXPECT_EQ(tokenizer.vocab_size(), 512);
  EXPECT_EQ(tokenizer.id_of("<|mask|>"), 508);
  EXPECT_EQ(tokenizer.token_of(511), "<|role_end|>");
  EXPECT_TRUE(tokenizer.is_special(506));
  EXPECT_FALSE(tokenizer.is_special(0));
  EXPECT_EQ(tokenizer.id_of("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.token_of(512), std::nullopt);
  EXPECT_EQ(tokenizer.token_of(-1), std::nullopt);
  const std::string text = "Reverse the word: na\xC3\xAFve\r\n\t 42 \xF0\x9F\x98\x80";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(SourcedText::all_user(text)), kKeep), text);
}

TEST(Merges, GoByRankAndThenFromTheLeft) {
  const Tokenizer tokenizer = load(small_tokenizer({{"b", "c"}, {"a", "b"}, {"a", "bc"}, {"a", "a"}}));
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("abc")), (Ids{258}));
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("abd")), (Ids{257, 'd'}));
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("aaa")), (Ids{259, 'a'}));
}

TEST(Merges, LongWordsAreMergedAsShortOnes) {
  // The slow obvious way, for comparison: look for the best pair again and again.
  const std::vector<std::pair<std::string, std::string>> merges = {{"a", "b"},  {"ab", "a"},  {"b", "b"}, {"aba", "aba"}, {"bb", "bb"}, {"a", "a"},
                                                                   {"aa", "aa"}, {"b", "aa"}, {"c", "a"}, {"ca", "b"},    {"b", "ca"}};
  const Tokenizer tokenizer = load(small_tokenizer(merges));
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    const std::size_t length = 40 + random() % 120;
    while (text.size() < length) {
      text.push_back("abc"[random() % (2 + static_cast<unsigned>(round) % 2)]);
    }
    std::vector<std::string> parts;
    for (const char c : text) {
      parts.emplace_back(1, c);
    }
    for (bool merged = true; merged;) {
      merged = false;
      for (const auto& [left, right] : merges) {
        for (std::size_t i = 0; i + 1 < parts.size() && !merged; ++i) {
          if (parts[i] == left && parts[i + 1] == right) {
            parts[i] += right;
            parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i) + 1);
            merged = true;
          }
        }
        if (merged) {
          break;
        }
      }
    }
    Ids expected;
    for (const std::string& part : parts) {
      expected.push_back(tokenizer.id_of(part).value());
    }
    ASSERT_EQ(tokenizer.encode(SourcedText::trusted(text)), expected) << text;
  }
}

TEST(Merges, IgnoredForAWordThatIsAToken) {
  nlohmann::json json = small_tokenizer({{"a", "b"}});
  json["model"]["vocab"]["abc"] = 257;
  EXPECT_EQ(load(json).encode(SourcedText::trusted("abc")), (Ids{256, 'c'}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(load(json).encode(SourcedText::trusted("abc")), (Ids{257}));
}

TEST(Merges, MayBeTexts) {
  nlohmann::json json = small_tokenizer({{"a", "b"}, {"ab", "c"}});
  json["model"]["merges"] = {"#version: 0.2", "a b", "ab c"};
  EXPECT_EQ(load(json).encode(SourcedText::trusted("abcab")), (Ids{257, 256}));
}

// Linear time is what this checks, by ending at all within the test's time limit: quadratic work would take hours.
TEST(Merges, TenMegabytesOfOneLetter) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (std::string run = "a"; run.size() < 128; run += run) {
    merges.emplace_back(run, run);
  }
  nlohmann::json json = small_tokenizer(merges);
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  const Tokenizer tokenizer = load(json);
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted(std::string(10'000'000, 'a'))).size(), 78'125U);
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted(std::string(10'000'000, ' '))).size(), 10'000'000U);
  nlohmann::json nfc = small_tokenizer();
  nfc["normalizer"] = {{"type", "NFC"}};
  std::string marks;
  for (int i = 0; i < 500'000; ++i) {
    marks += "\xCC\x81\xCC\x96";  // acute above, grave below: each pair is out of order
  }
  EXPECT_EQ(load(nfc).encode(SourcedText::trusted(marks)).size(), marks.size());
}

TEST(Encode, RefusesInvalidUtf8AndNamesTheByte) {
  const Tokenizer tokenizer = load(small_tokenizer());
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"ab\xFF", "byte 2"}, {"a\xC3", "byte 1"}, {"\xED\xA0\x80", "byte 0"}, {"abc\xF4\x90\x80\x80", "byte 3"}, {"\xC0\x80", "byte 0"}, {"x\xE2\x82", "byte 1"}};
  for (const auto& [text, place] : cases) {
    try {
      tokenizer.encode(SourcedText::trusted(text));
      ADD_FAILURE() << "accepted: " << place;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadInput);
      EXPECT_THAT(error.what(), testing::HasSubstr(place));
    }
  }
  EXPECT_EQ(tokenizer.encode(SourcedText::trusted("")), Ids{});
}

TEST(Decode, ReplacesMaximalInvalidParts) {
  const Tokenizer tokenizer = load(small_tokenizer());
  const std::string u = "\xEF\xBF\xBD";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"\xE2\x82", u},           {"\xE2\x82z", u + "z"},  {"\xF0\x9F\x98", u},          {"\xED\xA0\x80", u + u + u},
      {"\xFF\xFE", u + u},       {"\x80", u},             {"\xC3\xC3\xA9", u + "\xC3\xA9"}, {"\xF0\x9F\xC3\xA9", u + "\xC3\xA9"},
      {"\xE0\x80", u + u},       {"a\xC2", "a" + u},      {"\xF4\x90\x80\x80", u + u + u + u}};
  for (const auto& [raw, text] : cases) {
    EXPECT_EQ(tokenizer.decode(bytes(raw), kKeep), text) << testing::PrintToString(raw);
    EXPECT_EQ(streamed(tokenizer, bytes(raw), kKeep), text) << testing::PrintToString(raw);
  }
}

TEST(Decode, ATokenOutsideTheByteAlphabetIsTakenAsItIs) {
  nlohmann::json json = small_tokenizer();
  const TokenId chinese = add_token(json, "\xE4\xBD\xA0", {});
  const TokenId latin = add_token(json, "\xC3\xA9\xC3\xA9", {});  // U+00E9 stands for byte E9
  const Tokenizer tokenizer = load(json);
  EXPECT_EQ(tokenizer.decode(Ids{chinese}, kKeep), "\xE4\xBD\xA0");
  EXPECT_EQ(tokenizer.decode(Ids{latin}, kKeep), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Decode, IdsWithoutATokenHaveNoText) {
  nlohmann::json json = small_tokenizer();
  json["model"]["vocab"]["far"] = 300;
  const Tokenizer tokenizer = load(json);
  EXPECT_EQ(tokenizer.vocab_size(), 301);
  for (const TokenId id : {256, 299, 301, 2000000000}) {
    EXPECT_EQ(tokenizer.decode(Ids{id}, kKeep), "") << id;
    EXPECT_EQ(tokenizer.decode(Ids{300, id, 300}, kKeep), "farfar") << id;
    StreamDecoder stream(tokenizer, kKeep);
    EXPECT_EQ(stream.push(id), "") << id;
  }
  EXPECT_THROW(tokenizer.decode(Ids{-1}, kKeep), Error);
}

TEST(Decode, SkipsSpecialTokensOnly) {
  nlohmann::json json = small_tokenizer();
  const TokenId special = add_token(json, "<s>", {.special = true});
  const TokenId plain = add_token(json, "<p>", {});
  const Tokenizer tokenizer = load(json);
  EXPECT_EQ(tokenizer.decode(Ids{special, 'a', plain}, kSkip), "a<p>");
  EXPECT_EQ(tokenizer.decode(Ids{special, 'a', plain}, kKeep), "<s>a<p>");
}

TEST(Stream, GivesOnlyWhatIsFinal) {
  nlohmann::json json = small_tokenizer();
  const TokenId special = add_token(json, "<s>", {.special = true});
  const Tokenizer tokenizer = load(json);
  StreamDecoder stream(tokenizer, kSkip);
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push(0x9F), "");
  EXPECT_EQ(stream.push(special), "");  // skipped: the character goes on behind it
  EXPECT_EQ(stream.push(0x98), "");
  EXPECT_EQ(stream.push(0x80), "\xF0\x9F\x98\x80");
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.push('x'), "\xEF\xBF\xBDx");
  EXPECT_EQ(stream.push(0xC3), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Stream, EqualsDecodeOnAnyBytes) {
  const Tokenizer tokenizer = load(small_tokenizer());
  std::mt19937 random(3);
  const std::string likely = "\xE2\x82\xAC\xF0\x9F\x98\xC3\xA9\xED\xA0\xF4\x90 a";
  for (int round = 0; round < 2000; ++round) {
    Ids ids(random() % 12);
    for (TokenId& id : ids) {
      id = random() % 2 == 0 ? static_cast<TokenId>(random() % 256) : static_cast<unsigned char>(likely[random() % likely.size()]);
    }
    ASSERT_EQ(streamed(tokenizer, ids, kKeep), tokenizer.decode(ids, kKeep)) << testing::PrintToString(ids);
  }
}

}  // namespace
}  // namespace unmask::runtime
