// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/added_tokens.h"

#include <algorithm>

#include "runtime/tokenizer/bpe_model.h"
#include "runtime/tokenizer/json_fields.h"
#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime::tokenizer {

namespace {

constexpr std::size_t kMaxContentBytes = 1024;  // each place of a text may cost a walk this long
constexpr std::size_t kMaxTokens = 1U << 20;

}  // namespace

bool PrefixTrie::put(std::string_view key, std::size_t value) {
  std::int32_t node = 0;
  for (const char c : key) {
    const auto edge = static_cast<std::uint64_t>(node) * 256 + static_cast<unsigned char>(c);
    const auto [child, is_new] = children_.try_emplace(edge, static_cast<std::int32_t>(values_.size()));
    if (is_new) {
      values_.push_back(kNone);
    }
    node = child->second;
  }
  first_bytes_[static_cast<unsigned char>(key[0])] = true;
  std::int64_t& place = values_[size(node)];
  const bool is_free = place == kNone;
  place = is_free ? static_cast<std::int64_t>(value) : place;
  return is_free;
}

void PrefixTrie::find(std::string_view text, std::vector<Hit>& hits) const {
  hits.clear();
  if (text.empty() || !first_bytes_[static_cast<unsigned char>(text[0])]) {
    return;
  }
  std::int32_t node = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto child = children_.find(static_cast<std::uint64_t>(node) * 256 + static_cast<unsigned char>(text[i]));
    if (child == children_.end()) {
      return;
    }
    node = child->second;
    if (values_[size(node)] != kNone) {
      hits.push_back({i + 1, size(values_[size(node)])});
    }
  }
}

namespace {

AddedToken read_token(const nlohmann::json& value, const std::string& where, std::int64_t& id) {
  Fields fields(value, where);
  AddedToken token;
  const nlohmann::json& number = fields.get("id");
  require(number.is_number_integer(), ExitCode::kBadInput, "{}: expected a whole number as \"id\"", where);
  id = number.is_number_unsigned() && number.get<std::uint64_t>() > INT64_MAX ? INT64_MAX : number.get<std::int64_t>();
  token.content = fields.text("content");
  token.special = fields.flag("special");
  token.normalized = fields.flag("normalized");
  token.lstrip = fields.flag("lstrip");
  token.rstrip = fields.flag("rstrip");
  token.single_word = fields.flag("single_word");
  fields.finish();
  require(!token.content.empty(), ExitCode::kBadInput, "{}: the content is empty", where);
  require(token.content.size() <= kMaxContentBytes, ExitCode::kBadInput, "{}: the content {} has {} bytes, at most {} are supported", where,
          shown(token.content), token.content.size(), kMaxContentBytes);
  return token;
}

}  // namespace

AddedTokens AddedTokens::parse(const nlohmann::json& list, const BpeModel& model, const Normalizer& normalizer, const std::string& where) {
  AddedTokens added;
  if (list.is_null()) {
    return added;
  }
  require(list.is_array() && list.size() <= kMaxTokens, ExitCode::kBadInput, "{}: expected an array of at most {} tokens", where, kMaxTokens);
  std::int64_t next = model.num_tokens();
  for (const nlohmann::json& value : list) {
    std::int64_t id = 0;
    AddedToken token = read_token(value, format("{}[{}]", where, added.tokens_.size()), id);
    // The reference takes the model's id for a token that the model knows, else counts on from the vocabulary's size,
    // and only warns when the file says otherwise. Then either reading may be the wrong one.
    const std::optional<TokenId> known = model.id_of(token.content);
    const std::int64_t expected = known ? std::int64_t{*known} : next;
    require(id == expected && id < BpeModel::kMaxVocab, ExitCode::kBadInput,
            "{}: the token {} has id {}, but by the vocabulary it gets {}: number added tokens on from the vocabulary without gaps", where,
            shown(token.content), id, expected);
    next = std::max(next, id + 1);
    require(known || model.token_of(static_cast<TokenId>(id)) == nullptr, ExitCode::kBadInput, "{}: id {} of {} is taken by the vocabulary",
            where, id, shown(token.content));
    token.id = static_cast<TokenId>(id);
    token.pattern = token.normalized ? normalizer.apply(token.content, {}).text : token.content;
    const std::size_t place = added.tokens_.size();
    require(added.by_content_.emplace(token.content, place).second && added.by_id_.emplace(token.id, place).second, ExitCode::kBadInput,
            "{}: the token {} stands there twice", where, shown(token.content));
    require((token.normalized ? added.normalized_ : added.original_).put(token.pattern, place), ExitCode::kBadInput,
            "{}: {} has the same normal form as a token before it", where, shown(token.content));
    added.tokens_.push_back(std::move(token));
  }
  return added;
}

std::optional<TokenId> AddedTokens::id_of(std::string_view content) const {
  const auto found = by_content_.find(std::string(content));
  return found == by_content_.end() ? std::nullopt : std::optional(tokens_[found->second].id);
}

const AddedToken* AddedTokens::find(TokenId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

namespace {

/// First byte after `at` and before `end` that is not the user's, or `end`.
std::size_t next_trusted(std::span<const SourcedText::Span> user, std::size_t at, std::size_t end) {
  std::size_t place = at + 1;
  const auto span = std::partition_point(user.begin(), user.end(), [&](const auto& s) { return s.end <= place; });
  if (span != user.end() && span->begin <= place) {
    place = span->end;
  }
  return std::min(place, end);
}

bool touches_word(std::string_view text, std::size_t begin, std::size_t end) {
  const auto is_word_at = [&](std::size_t at) { return is_word_character(utf8_head(text.substr(at)).character); };
  return (begin > 0 && is_word_at(previous_character(text, begin))) || (end < text.size() && is_word_at(end));
}

}  // namespace

/// The longest token that begins at `at`. If that is a special one which the user had a hand in, a shorter one that is
/// nobody's but ours still counts, and what is ours within the longer one is searched again: typing something before or
/// after a template's token must not hide it. All of the user's making, it is passed over as a whole, as the reference does.
AddedTokens::Found AddedTokens::choose(std::size_t at, std::span<const PrefixTrie::Hit> hits,
                                       std::span<const SourcedText::Span> user) const {
  const std::size_t longest_end = at + hits.back().length;
  const AddedToken* longest = &tokens_[hits.back().value];
  if (!longest->special || !overlaps(user, at, longest_end)) {
    return {longest, longest_end};
  }
  for (std::size_t i = hits.size() - 1; i-- > 0;) {
    const AddedToken* token = &tokens_[hits[i].value];
    if (token->special && !overlaps(user, at, at + hits[i].length)) {
      return {token, at + hits[i].length};
    }
  }
  return {nullptr, next_trusted(user, at, longest_end)};
}

std::vector<AddedTokens::Part> AddedTokens::split(Stage stage, std::string_view text, std::span<const SourcedText::Span> user) const {
  const PrefixTrie& trie = stage == Stage::kOriginal ? original_ : normalized_;
  std::vector<Part> parts;
  std::vector<PrefixTrie::Hit> hits;
  std::size_t covered = 0;
  for (std::size_t at = 0; at < text.size();) {
    trie.find(text.substr(at), hits);
    if (hits.empty()) {
      ++at;
      continue;
    }
    const Found found = choose(at, hits, user);
    std::size_t begin = at;
    std::size_t end = found.end;
    at = found.end;
    if (found.token == nullptr || (found.token->single_word && touches_word(text, begin, end))) {
      continue;
    }
    while (found.token->lstrip && begin > covered) {
      const std::size_t before = previous_character(text, begin);
      if (!is_white_space(utf8_head(text.substr(before)).character)) {
        break;
      }
      begin = before;
    }
    while (found.token->rstrip && end < text.size()) {
      const Utf8Head head = utf8_head(text.substr(end));
      if (!is_white_space(head.character)) {
        break;
      }
      end += head.length;
    }
    if (covered < begin) {
      parts.push_back({covered, begin, std::nullopt});
    }
    parts.push_back({begin, end, found.token->id});
    covered = end;
  }
  if (covered < text.size()) {
    parts.push_back({covered, text.size(), std::nullopt});
  }
  return parts;
}

}  // namespace unmask::runtime::tokenizer
