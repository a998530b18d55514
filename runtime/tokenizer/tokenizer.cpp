// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/tokenizer.h"


#include "runtime/tokenizer/tokenizer_impl.h"
#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime {

using namespace tokenizer;

namespace {

constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;

void check_spans(const SourcedText& text) {
  std::size_t end = 0;
  for (const SourcedText::Span& span : text.user) {
    UNMASK_CHECK(span.begin >= end && span.begin <= span.end && span.end <= text.text.size(), "span [{}, {}) after {} in {} bytes",
                 span.begin, span.end, end, text.text.size());
    end = span.end;
  }
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

void Tokenizer::Impl::encode_words(std::string_view text, Regex::Scratch& scratch, std::vector<TokenId>& out) const {
  Words words{std::string(text), {{0, text.size()}}};
  pre_tokenizer.run(words, scratch);
  std::vector<TokenId> symbols;
  for (const Words::Range word : words.ranges) {
    model.encode(std::string_view(words.text).substr(word.begin, word.end - word.begin), symbols, out);
  }
}

std::vector<TokenId> Tokenizer::encode(const SourcedText& text) const {
  check_spans(text);
  require(text.text.size() <= kMaxTextBytes, ExitCode::kBadInput, "the text has {} bytes, at most {} can be encoded at once", text.text.size(),
          kMaxTextBytes);
  const std::optional<std::size_t> invalid = first_invalid_utf8(text.text);
  require(!invalid, ExitCode::kBadInput, "the text is not valid UTF-8 at byte {}", invalid.value_or(0));

  std::vector<TokenId> out;
  Regex::Scratch scratch;
  const std::string_view all = text.text;
  for (const AddedTokens::Part& part : impl_->added.split(AddedTokens::Stage::kOriginal, all, text.user)) {
    if (part.id) {
      out.push_back(*part.id);
      continue;
    }
    const SourcedText normal =
        impl_->normalizer.apply(all.substr(part.begin, part.end - part.begin), slice(text.user, part.begin, part.end));
    for (const AddedTokens::Part& piece : impl_->added.split(AddedTokens::Stage::kNormalized, normal.text, normal.user)) {
      if (piece.id) {
        out.push_back(*piece.id);
      } else {
        impl_->encode_words(std::string_view(normal.text).substr(piece.begin, piece.end - piece.begin), scratch, out);
      }
    }
  }
  return out;
}

std::string_view Tokenizer::Impl::bytes_of(TokenId token, SpecialTokens special) const {
  require(token >= 0, ExitCode::kBadInput, "the token id {} is negative", token);
  if (static_cast<std::size_t>(token) >= decoded.size() || !decoded[size(token)].known) {
    return {};  // a model's vocabulary may be larger than its tokenizer's: such ids have no text, as in the library
  }
  const Decoded& entry = decoded[size(token)];
  return special == SpecialTokens::kSkip && entry.skipped ? std::string_view() : std::string_view(entry.bytes);
}

std::string Tokenizer::decode(std::span<const TokenId> tokens, SpecialTokens special) const {
  std::string bytes;
  for (const TokenId token : tokens) {
    bytes += impl_->bytes_of(token, special);
  }
  std::string text;
  text.reserve(bytes.size());
  append_lossy(text, bytes);
  return text;
}

std::optional<TokenId> Tokenizer::id_of(std::string_view token) const {
  const std::optional<TokenId> added = impl_->added.id_of(token);
  return added ? added : impl_->model.id_of(token);
}

std::optional<std::string> Tokenizer::token_of(TokenId id) const {
  if (const AddedToken* added = impl_->added.find(id)) {
    return added->content;
  }
  const std::string* token = impl_->model.token_of(id);
  return token == nullptr ? std::nullopt : std::optional(*token);
}

bool Tokenizer::is_special(TokenId id) const {
  const AddedToken* added = impl_->added.find(id);
  return added != nullptr && added->special;
}

std::int64_t Tokenizer::vocab_size() const { return static_cast<std::int64_t>(impl_->decoded.size()); }

}  // namespace unmask::runtime
