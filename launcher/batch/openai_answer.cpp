// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/openai_answer.h"

#include <nlohmann/json.hpp>

#include "launcher/io/json_line.h"

namespace unmask::launcher {
namespace {

using Json = nlohmann::ordered_json;

Json choice_json(const Ticket& ticket, const AnswerText& text) {
  Json choice = Json::object();
  choice["index"] = 0;
  if (ticket.form == BatchLine::Form::kChat) {
    choice["message"] = Json::object();
    choice["message"]["role"] = "assistant";
    choice["message"]["content"] = text.text;
  } else {
    choice["text"] = text.text;
  }
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = text.finish_reason == runtime::FinishReason::kStop ? "stop" : "length";
  return choice;
}

Json body_json(const Ticket& ticket, const std::string& key, const runtime::Answer& answer, const AnswerText& text) {
  const bool is_chat = ticket.form == BatchLine::Form::kChat;
  Json body = Json::object();
  body["id"] = (is_chat ? "chatcmpl-" : "cmpl-") + key;
  body["object"] = is_chat ? "chat.completion" : "text_completion";
  body["created"] = 0;
  body["model"] = ticket.model;
  body["choices"] = Json::array({choice_json(ticket, text)});
  const auto prompt_tokens = static_cast<std::int64_t>(ticket.prompt.size());
  body["usage"] = Json::object();
  body["usage"]["prompt_tokens"] = prompt_tokens;
  body["usage"]["completion_tokens"] = answer.text_tokens;
  body["usage"]["total_tokens"] = prompt_tokens + answer.text_tokens;
  body["unmask"] = Json::object();
  body["unmask"]["passes"] = answer.passes;
  body["unmask"]["rows"] = answer.rows;
  return body;
}

}  // namespace

std::string openai_answer(const Ticket& ticket, const runtime::Answer& answer, const AnswerText& text) {
  const std::string key = format("{:016x}", ticket.input_hash);
  Json out = Json::object();
  if (ticket.form == BatchLine::Form::kUnknown && !ticket.has_custom_id) {
    out["id"] = Json::parse(ticket.id_json);  // readers of either form find their fields
    out["custom_id"] = nullptr;
  } else {
    out["id"] = "batch_req_" + key;
    out["custom_id"] = ticket.has_custom_id ? Json::parse(ticket.id_json) : Json();
  }
  out["response"] = nullptr;
  out["error"] = nullptr;
  if (answer.error) {
    out["error"] = Json::object();
    out["error"]["code"] = ticket.error_kind;
    out["error"]["message"] = answer.error->what();
  } else {
    out["response"] = Json::object();
    out["response"]["status_code"] = 200;
    out["response"]["request_id"] = "req_" + key;
    out["response"]["body"] = body_json(ticket, key, answer, text);
  }
  return as_json_line(out.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace unmask::launcher
