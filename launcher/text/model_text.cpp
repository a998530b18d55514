// SPDX-License-Identifier: Apache-2.0
#include "launcher/text/model_text.h"

#include <nlohmann/json.hpp>

namespace unmask::launcher {
namespace {

using nlohmann::ordered_json;
using runtime::SourcedText;

ordered_json conversation(const RequestInput& request, const PromptOptions& options) {
  const auto message = [](const char* role, const std::string& content) {
    ordered_json out = ordered_json::object();
    out["role"] = role;
    out["content"] = content;
    return out;
  };
  ordered_json messages = ordered_json::array();
  if (request.kind == RequestInput::Kind::kMessages) {
    messages = ordered_json::parse(request.text);
  } else {
    messages.push_back(message("user", request.text));
  }
  if (options.system && (messages.empty() || messages.front()["role"] != "system")) {
    messages.insert(messages.begin(), message("system", *options.system));
  }
  return messages;
}

}  // namespace

void ModelText::read(const runtime::ModelFiles& files) {
  if (files.has("tokenizer.json")) {
    tokenizer.emplace(runtime::Tokenizer::of_model(files));
    if (auto found = runtime::ChatTemplate::read(files)) {
      chat.emplace(std::move(*found));
    }
  }
}

const runtime::Tokenizer& ModelText::need_tokenizer(std::string_view what) const {
  require(tokenizer.has_value(), ExitCode::kBadInput,
          "{} needs a tokenizer.json in the model folder, found none; copy it there, or give token ids", what);
  return *tokenizer;
}

std::vector<TokenId> encode_prompt(const ModelText& model, const RequestInput& request, const PromptOptions& options) {
  if (request.kind == RequestInput::Kind::kTokens) {
    return request.tokens;
  }
  const runtime::Tokenizer& tokenizer = model.need_tokenizer("a prompt in text");
  const bool recognise = options.special == PromptOptions::Special::kRecognise;
  const bool is_conversation = request.kind == RequestInput::Kind::kMessages || options.system.has_value();
  require(!is_conversation || model.chat.has_value(), ExitCode::kBadInput,
          "messages need a chat template (chat_template.jinja, or chat_template in tokenizer_config.json), found none in the model "
          "folder; give the whole prompt as one text");
  if (!model.chat || (options.chat == PromptOptions::Template::kRaw && !is_conversation)) {
    return tokenizer.encode(recognise ? SourcedText::trusted(request.text) : SourcedText::all_user(request.text));
  }
  SourcedText text = model.chat->render(conversation(request, options), {.add_generation_prompt = true});
  if (recognise) {
    text.user.clear();
  }
  return tokenizer.encode(text);
}

}  // namespace unmask::launcher
