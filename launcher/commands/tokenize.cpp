// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <charconv>

#include <nlohmann/json.hpp>

#include "launcher/commands/commands.h"
#include "launcher/io/json_line.h"
#include "launcher/io/line_reader.h"
#include "launcher/text/model_text.h"
#include "runtime/strict_json.h"

namespace unmask::launcher {
namespace {

using nlohmann::json;

/// Puts every line of standard input through `change`. Errors name the line; what is done so far is printed before them.
void for_each_line(const Job& job, const std::function<std::string(const std::string&)>& change) {
  LineReader reader(STDIN_FILENO, "standard input");
  std::string pending;
  const auto flush = [&] { job.output.write(std::exchange(pending, {})); };
  while (const auto line = reader.next()) {
    try {
      require(!line->too_long, ExitCode::kBadInput, "expected at most {} bytes, found more", LineReader::kLongestLine);
      pending += change(line->text) + "\n";
    } catch (const Error& error) {
      flush();
      throw Error(error.code(), format("line {}: {}", line->number, error.what()));
    }
    if (!reader.has_line() || pending.size() > (std::size_t{1} << 16)) {
      flush();
    }
  }
  flush();
}

std::vector<TokenId> parse_ids(std::string_view line) {
  std::vector<TokenId> ids;
  constexpr std::string_view kBetween = " \t\r,";
  for (;;) {
    line.remove_prefix(std::min(line.find_first_not_of(kBetween), line.size()));
    if (line.empty()) {
      return ids;
    }
    const std::string_view word = line.substr(0, line.find_first_of(kBetween));
    TokenId id = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    require(error == std::errc() && id >= 0 && end == word.data() + word.size(), ExitCode::kBadInput,
            "expected token ids, found '{}'", runtime::printable(word));
    ids.push_back(id);
    line.remove_prefix(word.size());
  }
}

json parse(const std::string& line) { return runtime::parse_json_strictly(line, "JSON", LineReader::kLongestLine); }

/// What a line of tokenize's input asks for.
RequestInput input_of(const std::string& line, const OptionValues& options) {
  RequestInput input;
  if (!options.is_on("json")) {
    input.text = line;
  } else if (options.is_on("chat")) {
    input.kind = RequestInput::Kind::kMessages;
    input.text = parse_messages(line, "JSON");
  } else {
    const json text = parse(line);
    require(text.is_string(), ExitCode::kBadInput, "expected a JSON string, found {}", runtime::describe(text));
    input.text = text.get<std::string>();
  }
  return input;
}

}  // namespace

ExitCode run_tokenize(const Job& job) {
  const OptionValues& options = job.options();
  ModelText model;
  model.read(std::filesystem::path(options.text("model")));
  model.need_tokenizer("tokenize");
  require(!options.is_on("chat") || model.chat, ExitCode::kBadInput,
          "--chat needs a chat template (chat_template.jinja, or chat_template in tokenizer_config.json), found none in the model folder");
  PromptOptions how;
  how.chat = options.is_on("chat") ? PromptOptions::Template::kUse : PromptOptions::Template::kRaw;
  how.special = options.is_on("special") ? PromptOptions::Special::kRecognise : PromptOptions::Special::kAsText;
  for_each_line(job, [&](const std::string& line) {
    const auto ids = encode_prompt(model, input_of(line, options), how);
    return options.is_on("json") ? json(ids).dump() : format("{}", fmt::join(ids, " "));
  });
  return ExitCode::kDone;
}

ExitCode run_detokenize(const Job& job) {
  const OptionValues& options = job.options();
  ModelText model;
  model.read(std::filesystem::path(options.text("model")));
  const runtime::Tokenizer& tokenizer = model.need_tokenizer("detokenize");
  const auto special = options.is_on("skip-special") ? runtime::Tokenizer::SpecialTokens::kSkip : runtime::Tokenizer::SpecialTokens::kKeep;
  for_each_line(job, [&](const std::string& line) {
    const bool is_json = options.is_on("json");
    const std::string text = tokenizer.decode(is_json ? parse_token_array(line, "JSON") : parse_ids(line), special);
    return is_json ? as_json_line(json(text).dump(-1, ' ', false, json::error_handler_t::replace)) : text;
  });
  return ExitCode::kDone;
}

}  // namespace unmask::launcher
