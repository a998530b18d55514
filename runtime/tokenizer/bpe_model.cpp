// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/bpe_model.h"

#include <algorithm>

#include "runtime/tokenizer/json_fields.h"
#include "runtime/tokenizer/json_reader.h"
#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime::tokenizer {

namespace {

using nlohmann::json;

void refuse_affix(Fields& fields, const std::string& key) {
  const json& value = fields.get(key);
  require(value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty()), ExitCode::kBadInput,
          "{}: \"{}\" is {}; only null or \"\" is supported", fields.where(), key, shown(value.dump()));
}

}  // namespace

BpeModel BpeModel::parse(TokenizerFile& file, const std::string& name) {
  const auto found = file.rest.find("model");
  require(found != file.rest.end(), ExitCode::kBadInput, "{}: there is no \"model\"", name);
  Fields fields(*found, name + ": model");
  const json& type = fields.get("type");
  require(type.is_null() || type == "BPE", ExitCode::kBadInput, "{}: the model type {} is not supported, only \"BPE\" is",
          name, shown(type.is_string() ? type.get<std::string>() : type.dump()));
  require(found->contains("vocab") && (*found)["vocab"].is_object(), ExitCode::kBadInput, "{}: \"vocab\" is no object", fields.where());
  require(found->contains("merges") && (*found)["merges"].is_array(), ExitCode::kBadInput, "{}: \"merges\" is no array", fields.where());
  fields.get("vocab");
  fields.get("merges");

  BpeModel model(file.merges.size());
  const json& dropout = fields.get("dropout");
  require(dropout.is_null() || (dropout.is_number() && dropout.get<double>() == 0.0), ExitCode::kBadInput,
          "{}: \"dropout\" is {}; only null or 0 is supported, tokens must not be left to chance", fields.where(), shown(dropout.dump()));
  require(!fields.flag_or("byte_fallback", false), ExitCode::kBadInput, "{}: \"byte_fallback\" true is not supported", fields.where());
  refuse_affix(fields, "continuing_subword_prefix");
  refuse_affix(fields, "end_of_word_suffix");
  model.ignore_merges_ = fields.flag_or("ignore_merges", false);
  model.fuse_unknown_ = fields.flag_or("fuse_unk", false);
  if (!fields.get("unk_token").is_null()) {
    model.unknown_token_ = fields.text("unk_token");
  }
  fields.finish();
  model.take_vocab(file, fields.where());
  model.take_merges(file, fields.where());
  return model;
}

void BpeModel::take_vocab(TokenizerFile& file, const std::string& where) {
  std::int64_t highest = -1;
  for (const TokenizerFile::Entry& entry : file.vocab) {
    require(entry.id >= 0 && entry.id < kMaxVocab, ExitCode::kBadInput, "{}: the token {} has id {}, expected 0 to {}", where,
            shown(entry.token), entry.id, kMaxVocab - 1);
    require(!entry.token.empty(), ExitCode::kBadInput, "{}: the token with id {} is empty", where, entry.id);
    highest = std::max(highest, entry.id);
  }
  tokens_.resize(size(highest + 1));
  ids_.reserve(file.vocab.size());
  for (TokenizerFile::Entry& entry : file.vocab) {
    std::string& token = tokens_[size(entry.id)];
    require(token.empty(), ExitCode::kBadInput, "{}: id {} is given to both {} and {}", where, entry.id, shown(token), shown(entry.token));
    token = std::move(entry.token);
    require(ids_.emplace(token, static_cast<TokenId>(entry.id)).second, ExitCode::kBadInput, "{}: the token {} stands twice in \"vocab\"",
            where, shown(token));
  }
  file.vocab.clear();
  for (char32_t character = 0; character < low_characters_.size(); ++character) {
    std::string text;
    append_utf8(text, character);
    low_characters_[character] = id_of(text).value_or(kNone);
  }
}

void BpeModel::take_merges(const TokenizerFile& file, const std::string& where) {
  const auto id = [&](const std::string& token, std::size_t rank) {
    const std::optional<TokenId> found = id_of(token);
    require(found.has_value(), ExitCode::kBadInput, "{}: merge {} names {}, which is not in \"vocab\"", where, rank, shown(token));
    return *found;
  };
  for (std::size_t rank = 0; rank < file.merges.size(); ++rank) {
    const auto& [left, right] = file.merges[rank];
    merges_.put(id(left, rank), id(right, rank), {narrow<std::uint32_t>(rank), id(left + right, rank)});
  }
}

std::optional<TokenId> BpeModel::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

const std::string* BpeModel::token_of(TokenId id) const {
  const bool known = id >= 0 && id < highest_id_plus_one() && !tokens_[size(id)].empty();
  return known ? &tokens_[size(id)] : nullptr;
}

TokenId BpeModel::character_id(std::string_view character) const {
  const char32_t code = utf8_head(character).character;
  return code < low_characters_.size() ? low_characters_[code] : id_of(character).value_or(kNone);
}

void BpeModel::split_characters(std::string_view word, std::vector<TokenId>& symbols) const {
  bool last_is_unknown = false;
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t length = utf8_head(word.substr(at)).length;
    TokenId id = character_id(word.substr(at, length));
    at += length;
    const bool unknown = id == kNone;
    if (unknown) {
      if (!unknown_token_ || (fuse_unknown_ && last_is_unknown)) {
        continue;
      }
      const std::optional<TokenId> stand_in = id_of(*unknown_token_);
      require(stand_in.has_value(), ExitCode::kBadInput,
              "the text holds a character that is not in the tokenizer's vocabulary, and neither is its unk_token {}",
              shown(*unknown_token_));
      id = *stand_in;
    }
    symbols.push_back(id);
    last_is_unknown = unknown;
  }
}

void BpeModel::encode(std::string_view word, std::vector<TokenId>& symbols, std::vector<TokenId>& out) const {
  if (ignore_merges_) {
    if (const std::optional<TokenId> whole = id_of(word)) {
      out.push_back(*whole);
      return;
    }
  }
  symbols.clear();
  split_characters(word, symbols);
  merge_symbols(merges_, symbols);
  out.insert(out.end(), symbols.begin(), symbols.end());
}

}  // namespace unmask::runtime::tokenizer
