// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/openai_body.h"

#include <algorithm>
#include <array>
#include <iterator>

#include <nlohmann/json.hpp>

#include "launcher/text/request_fields.h"
#include "runtime/strict_json.h"

namespace unmask::launcher {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

/// Fields that this program cannot honour, with the values that ask for nothing.
struct NeutralField {
  const char* key;
  const char* values;  ///< a JSON array; null is always neutral
};
constexpr auto kNeutral = std::to_array<NeutralField>({
    {"n", "[1]"},
    {"best_of", "[1]"},
    {"top_p", "[1]"},
    {"top_k", "[-1, 0]"},
    {"min_p", "[0]"},
    {"stream", "[false]"},
    {"stream_options", "[]"},
    {"presence_penalty", "[0]"},
    {"frequency_penalty", "[0]"},
    {"repetition_penalty", "[1]"},
    {"logit_bias", "[{}]"},
    {"logprobs", "[false]"},
    {"top_logprobs", "[0]"},
    {"echo", "[false]"},
    {"suffix", "[\"\"]"},
    {"tools", "[[]]"},
    {"tool_choice", "[\"none\", \"auto\"]"},
    {"functions", "[[]]"},
    {"function_call", "[\"none\", \"auto\"]"},
    {"response_format", "[{\"type\": \"text\"}]"},
    {"modalities", "[[\"text\"]]"},
    {"service_tier", "[\"auto\", \"default\"]"},
    {"store", "[false]"},
    {"prediction", "[]"},
    {"audio", "[]"},
    {"web_search_options", "[]"},
    {"reasoning_effort", "[\"none\"]"},
    {"verbosity", "[\"medium\"]"},
    {"ignore_eos", "[false]"},
    {"min_tokens", "[0]"},
});
/// They change no answer, whatever they say.
constexpr auto kIgnored = std::to_array<std::string_view>(
    {"user", "metadata", "parallel_tool_calls", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"});

bool is_neutral(const std::string& key, const json& value) {
  if (std::ranges::count(kIgnored, key) > 0) {
    return true;
  }
  const auto at = std::ranges::find_if(kNeutral, [&](const NeutralField& field) { return key == field.key; });
  if (at == kNeutral.end()) {
    return false;
  }
  const json allowed = json::parse(at->values);
  if (!value.is_null() && std::ranges::find(allowed, value) == allowed.end()) {
    bad(key, allowed.empty() ? "null" : allowed.size() == 1 ? format("{} (nothing else can be honoured)", allowed[0].dump())
                                                            : format("one of {} (nothing else can be honoured)", allowed.dump()),
        value);
  }
  return true;
}

/// A message's content as one text: a string, or parts of type text.
std::string content_text(const ordered_json& content) {
  const auto wrong = [](const ordered_json& found) { bad("content", "a string or parts {\"type\": \"text\", \"text\": ...}", json(found)); };
  if (content.is_string()) {
    return content.get<std::string>();
  }
  if (!content.is_array()) {
    wrong(content);
  }
  std::string text;
  for (const ordered_json& part : content) {
    if (!part.is_object() || part.value("type", ordered_json()) != "text" || !part.contains("text") || !part["text"].is_string()) {
      wrong(part);
    }
    text += part["text"].get<std::string>();
  }
  return text;
}

/// With the members of a message in the order written, which a template may print.
void take_messages(RequestInput& request, std::string_view line, const json& body) {
  require(body.contains("messages"), ExitCode::kBadInput, "messages: expected an array of messages, found no such key");
  ordered_json messages = std::move(ordered_json::parse(line)["body"]["messages"]);
  if (!messages.is_array() || messages.empty()) {
    bad("messages", "an array of at least one message", json(messages));
  }
  for (ordered_json& message : messages) {
    if (message.is_object() && message.contains("content")) {
      message["content"] = content_text(message["content"]);
    }
  }
  check_messages("messages", json(messages));
  request.kind = RequestInput::Kind::kMessages;
  request.text = messages.dump();
}

void take_prompt(RequestInput& request, const json& body) {
  require(body.contains("prompt"), ExitCode::kBadInput, "prompt: expected a string or token ids, found no such key");
  const json* prompt = &body["prompt"];
  if (prompt->is_array() && prompt->size() == 1 && (prompt->front().is_string() || prompt->front().is_array())) {
    prompt = &prompt->front();
  }
  if (prompt->is_string()) {
    request.kind = RequestInput::Kind::kText;
    request.text = prompt->get<std::string>();
    return;
  }
  if (!prompt->is_array() || (!prompt->empty() && !prompt->front().is_number())) {
    bad("prompt", "one string, or one array of token ids", *prompt);
  }
  request.kind = RequestInput::Kind::kTokens;
  request.tokens = token_array("prompt", *prompt);
}

/// max_tokens in any of its spellings, once or all the same.
void take_length(RequestInput& request, const json& body) {
  const json* first = nullptr;
  for (const char* key : {"max_tokens", "max_completion_tokens", "gen_length"}) {
    const auto at = body.find(key);
    if (at == body.end() || at->is_null()) {
      continue;
    }
    require(first == nullptr || *first == *at, ExitCode::kBadInput, "{}: expected one length of the answer, found {} and {}", key,
            runtime::describe(*at), first == nullptr ? "" : runtime::describe(*first));
    first = &*at;
    request.sampling["gen-length"] = option_texts(*find_option("gen-length"), key, *at);
  }
}

void take_option(RequestInput& request, const std::string& key, const json& value) {
  const OptionSpec* spec = find_sampling_key(key);
  require(spec != nullptr, ExitCode::kBadInput,
          "unknown key \"{}\": expected the fields of OpenAI's request or a sampling option such as block_length", runtime::printable(key));
  if (!value.is_null()) {
    request.sampling[std::string(spec->name)] = option_texts(*spec, key, value);
  }
}

}  // namespace

void take_openai_body(BatchLine& out, std::string_view line, const json& body) {
  const bool is_chat = out.form == BatchLine::Form::kChat;
  if (is_chat) {
    take_messages(out.request, line, body);
  } else {
    take_prompt(out.request, body);
  }
  take_length(out.request, body);
  for (const auto& [key, value] : body.items()) {
    if (key == (is_chat ? "messages" : "prompt") || key == "max_tokens" || key == "max_completion_tokens" || key == "gen_length") {
      continue;
    }
    if (key == "model") {
      if (!value.is_string()) {
        bad(key, "a string", value);
      }
      out.model = value.get<std::string>();
    } else if (!is_neutral(key, value)) {
      take_option(out.request, key, value);
    }
  }
}

}  // namespace unmask::launcher
