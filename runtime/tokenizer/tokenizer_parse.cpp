// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <unordered_set>

#include "runtime/input_file.h"
#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/json_fields.h"
#include "runtime/tokenizer/json_reader.h"
#include "runtime/tokenizer/tokenizer_impl.h"
#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime {

using namespace tokenizer;
using nlohmann::json;

namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{256} << 20;

/// Number of ByteLevel decoders; anything else is refused.
int count_byte_level(const json& value, const std::string& where) {
  Fields fields(value, where);
  const std::string type = fields.text("type");
  int count = 0;
  if (type == "ByteLevel") {
    for (const char* ignored : {"add_prefix_space", "trim_offsets", "use_regex"}) {  // they say nothing about decoding
      fields.get(ignored);
    }
    count = 1;
  } else if (type == "Sequence") {
    const json& parts = fields.get("decoders");
    require(parts.is_array(), ExitCode::kBadInput, "{}: \"decoders\" is no array", where);
    for (const json& part : parts) {
      count += count_byte_level(part, where);
    }
  } else {
    fail(ExitCode::kBadInput, "{}: the type {} is not supported, only ByteLevel and Sequence are", where, shown(type));
  }
  fields.finish();
  return count;
}

/// Post-processors only add tokens around a whole text, which encode() never does; so they are only looked at for kind.
void check_post_processor(const json& value, const std::string& where) {
  if (value.is_null()) {
    return;
  }
  Fields fields(value, where);
  const std::string type = fields.text("type");
  if (type == "Sequence") {
    const json& parts = fields.get("processors");
    require(parts.is_array(), ExitCode::kBadInput, "{}: \"processors\" is no array", where);
    for (const json& part : parts) {
      check_post_processor(part, where);
    }
    return;
  }
  require(type == "ByteLevel" || type == "TemplateProcessing", ExitCode::kBadInput,
          "{}: the type {} is not supported, only ByteLevel, TemplateProcessing and Sequence are", where, shown(type));
}

void require_null(Fields& fields, const std::string& key) {
  require(fields.get(key).is_null(), ExitCode::kBadInput,
          "{}: \"{}\" is set, which would change the number of tokens; set it to null", fields.where(), key);
}

}  // namespace

void Tokenizer::Impl::fill_decoded() {
  std::int64_t count = model.highest_id_plus_one();
  std::unordered_set<std::string_view> special;
  for (const AddedToken& token : added.all()) {
    count = std::max(count, std::int64_t{token.id} + 1);
    if (token.special) {
      special.insert(token.content);
    }
  }
  decoded.resize(size(count));
  for (TokenId id = 0; id < count; ++id) {
    const AddedToken* token = added.find(id);
    const std::string* text = token != nullptr ? &token->pattern : model.token_of(id);
    if (text != nullptr) {
      decoded[size(id)] = {token_bytes(*text), true, special.contains(*text)};
    }
  }
}

Tokenizer Tokenizer::parse(std::string_view text, std::string_view name) {
  require(text.size() <= kMaxFileBytes, ExitCode::kBadInput, "{}: {} bytes, at most {} are supported", name, text.size(), kMaxFileBytes);
  TokenizerFile file = read_tokenizer_json(text, name);
  const std::string where(name);
  Fields fields(file.rest, where);
  const json& version = fields.get("version");
  require(version.is_null() || version == "1.0", ExitCode::kBadInput, "{}: the version {} is not supported, only \"1.0\" is", where,
          shown(version.dump()));
  require_null(fields, "truncation");
  require_null(fields, "padding");
  fields.get("model");
  BpeModel model = BpeModel::parse(file, where);
  const Normalizer normalizer = Normalizer::parse(fields.get("normalizer"), where + ": normalizer");
  PreTokenizer pre_tokenizer = PreTokenizer::parse(fields.get("pre_tokenizer"), where + ": pre_tokenizer");
  AddedTokens added = AddedTokens::parse(fields.get("added_tokens"), model, normalizer, where + ": added_tokens");
  check_post_processor(fields.get("post_processor"), where + ": post_processor");
  require(count_byte_level(fields.get("decoder"), where + ": decoder") == 1, ExitCode::kBadInput,
          "{}: decoder: expected exactly one ByteLevel", where);
  fields.finish();
  auto impl = std::unique_ptr<Impl>(new Impl{std::move(added), normalizer, std::move(pre_tokenizer), std::move(model), {}});
  impl->fill_decoded();
  return Tokenizer(std::move(impl));
}

Tokenizer Tokenizer::read(const std::filesystem::path& file) {
  return parse(read_text_file(file, kMaxFileBytes), file.string());
}

Tokenizer Tokenizer::of_model(const ModelFiles& files) {
  return parse(files.read("tokenizer.json", kMaxFileBytes), files.name_of("tokenizer.json"));
}

}  // namespace unmask::runtime
