// SPDX-License-Identifier: Apache-2.0
// The first byte chooses. 'T' and a text: through a fixed tokenizer and back, bytes for bytes. Anything else begins a
// tokenizer.json (normally '{'): it is refused by an Error, or it encodes and decodes some texts.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/tokenizer.h"

namespace {

using namespace unmask;
using namespace unmask::runtime;

constexpr auto kKeep = Tokenizer::SpecialTokens::kKeep;

void expect(bool ok) {
  if (!ok) {
    std::abort();
  }
}

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    out += c == '"' || c == '\\' ? std::string{'\\', c} : std::string(1, c);
  }
  return out + "\"";
}

/// Byte level with Qwen's pattern, a few merges and two added tokens, one of them special.
Tokenizer fixed_tokenizer() {
  std::string vocab;
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string character;
    tokenizer::append_byte_characters(character, std::string(1, static_cast<char>(static_cast<unsigned char>(byte))));
    vocab += json_text(character) + ":" + std::to_string(byte) + ",";
  }
  const std::string flags = R"(,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":)";
  return Tokenizer::parse(
      R"({"added_tokens":[{"id":261,"content":"<s>")" + flags + R"(true},{"id":262,"content":"<p>")" + flags + R"(false}],
      "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated","invert":false,"pattern":{"Regex":
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
      {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]},
      "decoder":{"type":"ByteLevel"},"model":{"type":"BPE","merges":["a a","aa aa","a b","Ã ©","ab c"],"vocab":{)" +
          vocab + R"("aa":256,"aaaa":257,"ab":258,"Ã©":259,"abc":260}}})",
      "fixed");
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  StreamDecoder stream(tokenizer, kKeep);
  std::string text;
  for (const TokenId id : ids) {
    text += stream.push(id);
  }
  return text + stream.finish();
}

void round_trip(std::string_view text) {
  static const Tokenizer tokenizer = fixed_tokenizer();
  try {
    SourcedText half = SourcedText::trusted(std::string(text));
    half.user = {{0, text.size() / 2}};
    for (const SourcedText& source : {SourcedText::all_user(std::string(text)), SourcedText::trusted(std::string(text)), half}) {
      const std::vector<TokenId> ids = tokenizer.encode(source);
      expect(tokenizer.decode(ids, kKeep) == text);
      expect(streamed(tokenizer, ids) == text);
    }
  } catch (const Error&) {  // not UTF-8
  }
  std::vector<TokenId> bytes;
  for (const char c : text) {
    bytes.push_back(static_cast<unsigned char>(c));
  }
  expect(streamed(tokenizer, bytes) == tokenizer.decode(bytes, kKeep));
}

void try_file(std::string_view json) {
  try {
    const Tokenizer tokenizer = Tokenizer::parse(json, "fuzz");
    for (const char* text : {"", "ab Ab's <s> 12\r\n\n  x", "e\xCC\x81\xCC\x96 \xE4\xBD\xA0\xF0\x9F\x98\x80\xE1\x84\x80\xE1\x85\xA1", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
      for (const SourcedText& source : {SourcedText::all_user(text), SourcedText::trusted(text)}) {
        try {
          const std::vector<TokenId> ids = tokenizer.encode(source);
          expect(streamed(tokenizer, ids) == tokenizer.decode(ids, kKeep));
          for (const TokenId id : ids) {
            const auto token = tokenizer.token_of(id);
            expect(token && tokenizer.id_of(*token) == id && id < tokenizer.vocab_size());
          }
        } catch (const Error&) {  // an unknown character, a pattern that runs wild
        }
      }
    }
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.starts_with('T')) {
    round_trip(input.substr(1));
  } else {
    try_file(input);
  }
  return 0;
}
