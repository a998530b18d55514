// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/json_fields.h"
#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime::tokenizer {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxSteps = 16;

// GPT-2's own pattern, which ByteLevel with "use_regex" applies.
constexpr std::string_view kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace

PreTokenizer PreTokenizer::parse(const json& value, const std::string& where) {
  PreTokenizer pre_tokenizer;
  if (!value.is_null()) {
    pre_tokenizer.add(value, where);
  }
  return pre_tokenizer;
}

void PreTokenizer::add(const json& value, const std::string& where) {
  Fields fields(value, where);
  const std::string type = fields.text("type");
  if (type == "Sequence") {
    const json& parts = fields.get("pretokenizers");
    require(parts.is_array(), ExitCode::kBadInput, "{}: \"pretokenizers\" is no array", where);
    for (const json& part : parts) {
      add(part, where);
    }
  } else if (type == "Split") {
    constexpr std::array<std::pair<std::string_view, Behavior>, 5> kBehaviors = {{{"Isolated", Behavior::kIsolated},
                                                                                  {"Removed", Behavior::kRemoved},
                                                                                  {"MergedWithPrevious", Behavior::kMergedWithPrevious},
                                                                                  {"MergedWithNext", Behavior::kMergedWithNext},
                                                                                  {"Contiguous", Behavior::kContiguous}}};
    const std::string name = fields.text("behavior");
    const auto behavior = std::find_if(kBehaviors.begin(), kBehaviors.end(), [&](const auto& known) { return known.first == name; });
    require(behavior != kBehaviors.end(), ExitCode::kBadInput, "{}: the behavior {} is not supported", where, shown(name));
    Fields pattern(fields.get("pattern"), where + ".pattern");
    const bool regex = pattern.get("Regex").is_string();
    Regex compiled(regex ? Regex::Syntax::kPattern : Regex::Syntax::kLiteral, pattern.text(regex ? "Regex" : "String"), pattern.where());
    pattern.finish();
    steps_.emplace_back(Split{std::move(compiled), behavior->second, fields.flag("invert") ? Delimiter::kRest : Delimiter::kMatches});
  } else if (type == "ByteLevel") {
    // A second one would write the bytes of the alphabet's own characters, and double the text each time.
    require(std::none_of(steps_.begin(), steps_.end(), [](const auto& step) { return std::holds_alternative<ByteLevel>(step); }),
            ExitCode::kBadInput, "{}: ByteLevel more than once is not supported", where);
    if (fields.flag("add_prefix_space")) {
      steps_.emplace_back(PrefixSpace{});
    }
    fields.flag("trim_offsets");  // of character offsets, which nobody asks for here
    if (fields.flag_or("use_regex", true)) {
      steps_.emplace_back(Split{Regex(Regex::Syntax::kPattern, kGpt2Pattern, where), Behavior::kIsolated, Delimiter::kMatches});
    }
    steps_.emplace_back(ByteLevel{});
  } else {
    fail(ExitCode::kBadInput, "{}: the type {} is not supported, only Split, ByteLevel and Sequence are", where, shown(type));
  }
  fields.finish();
  require(steps_.size() <= kMaxSteps, ExitCode::kBadInput, "{}: more than {} steps", where, kMaxSteps);
}

void PreTokenizer::run(Words& words, Regex::Scratch& scratch) const {
  for (const auto& step : steps_) {
    std::visit([&](const auto& s) { s.run(words, scratch); }, step);
  }
}

/// Joins delimiters (matched parts) with their neighbours. The reference starts each of these walks as if a part that is
/// no delimiter had come before; so do we.
void PreTokenizer::merge(Behavior behavior, std::vector<Match>& parts) {
  const bool backwards = behavior == Behavior::kMergedWithNext;
  if (backwards) {
    std::reverse(parts.begin(), parts.end());
  }
  std::size_t num_kept = 0;
  bool previous = false;
  for (const Match part : parts) {
    const bool join = behavior == Behavior::kContiguous ? part.matched == previous : part.matched && !previous;
    previous = part.matched;
    if (!join || num_kept == 0) {
      parts[num_kept++] = part;
    } else if (backwards) {
      parts[num_kept - 1].begin = part.begin;
    } else {
      parts[num_kept - 1].end = part.end;
    }
  }
  parts.resize(num_kept);
  if (backwards) {
    std::reverse(parts.begin(), parts.end());
  }
}

void PreTokenizer::Split::run(Words& words, Regex::Scratch& scratch) const {
  std::vector<Words::Range> ranges;
  ranges.reserve(words.ranges.size());
  std::vector<Match> parts;
  for (const Words::Range word : words.ranges) {
    pattern.cut(std::string_view(words.text).substr(word.begin, word.end - word.begin), scratch, parts);
    if (delimiter == Delimiter::kRest) {
      std::for_each(parts.begin(), parts.end(), [](Match& part) { part.matched = !part.matched; });
    }
    if (behavior != Behavior::kIsolated && behavior != Behavior::kRemoved) {
      merge(behavior, parts);
    }
    for (const Match part : parts) {
      if (part.begin < part.end && !(behavior == Behavior::kRemoved && part.matched)) {
        ranges.push_back({word.begin + part.begin, word.begin + part.end});
      }
    }
  }
  words.ranges = std::move(ranges);
}

void PreTokenizer::PrefixSpace::run(Words& words, Regex::Scratch&) const {
  std::string text;
  text.reserve(words.text.size() + words.ranges.size());
  for (Words::Range& word : words.ranges) {
    const std::size_t begin = text.size();
    if (words.text[word.begin] != ' ') {
      text.push_back(' ');
    }
    text.append(words.text, word.begin, word.end - word.begin);
    word = {begin, text.size()};
  }
  words.text = std::move(text);
}

void PreTokenizer::ByteLevel::run(Words& words, Regex::Scratch&) const {
  std::string text;
  text.reserve(words.text.size() + words.text.size() / 2);
  for (Words::Range& word : words.ranges) {
    const std::size_t begin = text.size();
    append_byte_characters(text, std::string_view(words.text).substr(word.begin, word.end - word.begin));
    word = {begin, text.size()};
  }
  words.text = std::move(text);
}

}  // namespace unmask::runtime::tokenizer
