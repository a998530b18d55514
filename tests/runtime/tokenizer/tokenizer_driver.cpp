// SPDX-License-Identifier: Apache-2.0
// For compare_tokenizer.py: tokenizer_driver TOKENIZER.json < cases, one JSON object per line in, one out.
//   {"text": "...", "user": [[begin, end], ...]}  byte ranges ->  [ids]
//   {"ids": [...], "skip": true}                              ->  "text"; pushed through a StreamDecoder too, which must agree
// A refusal is {"error": "..."}.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "runtime/tokenizer/tokenizer.h"

namespace {

using nlohmann::json;
using namespace unmask;
using namespace unmask::runtime;

json encode(const Tokenizer& tokenizer, const json& line) {
  SourcedText text = SourcedText::trusted(line["text"].get<std::string>());
  for (const json& span : line["user"]) {
    text.user.push_back({span[0].get<std::size_t>(), span[1].get<std::size_t>()});
  }
  return tokenizer.encode(text);
}

json decode(const Tokenizer& tokenizer, const json& line) {
  const auto ids = line["ids"].get<std::vector<TokenId>>();
  const auto special = line["skip"].get<bool>() ? Tokenizer::SpecialTokens::kSkip : Tokenizer::SpecialTokens::kKeep;
  const std::string whole = tokenizer.decode(ids, special);
  StreamDecoder stream(tokenizer, special);
  std::string pieces;
  for (const TokenId id : ids) {
    pieces += stream.push(id);
  }
  pieces += stream.finish();
  require(pieces == whole, ExitCode::kBadInput, "streamed decoding differs");
  return whole;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: tokenizer_driver TOKENIZER.json < cases\n";
    return 2;
  }
  try {
    const Tokenizer tokenizer = Tokenizer::read(argv[1]);
    for (std::string text; std::getline(std::cin, text);) {
      const json line = json::parse(text);
      try {
        std::cout << (line.contains("text") ? encode(tokenizer, line) : decode(tokenizer, line)).dump() << '\n';
      } catch (const Error& error) {
        std::cout << json{{"error", error.what()}}.dump() << '\n';
      }
    }
  } catch (const Error& error) {
    std::cerr << error.what() << '\n';
    return static_cast<int>(error.code());
  }
  return 0;
}
