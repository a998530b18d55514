// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/batch_line.h"

#include <nlohmann/json.hpp>

#include "launcher/batch/openai_body.h"
#include "launcher/io/line_reader.h"
#include "launcher/text/request_fields.h"
#include "runtime/strict_json.h"

namespace unmask::launcher {
namespace {

using nlohmann::json;
using Form = BatchLine::Form;

bool is_openai(const json& object) {
  return object.contains("custom_id") || object.contains("body") || object.contains("url") || object.contains("method");
}

const json& need(const json& object, const char* key, std::string_view expected) {
  const auto at = object.find(key);
  require(at != object.end(), ExitCode::kBadInput, "{}: expected {}, found no such key", key, expected);
  return *at;
}

void take_envelope(BatchLine& out, const json& object) {
  const json& id = need(object, "custom_id", "a string that no other line has");
  if (!id.is_string()) {
    bad("custom_id", "a string", id);
  }
  out.custom_id = id.get<std::string>();
  out.request.id = *out.custom_id;
  out.request.id_json = id.dump();
  if (const json& method = need(object, "method", "\"POST\""); method != "POST") {
    bad("method", "\"POST\"", method);
  }
  const json& url = need(object, "url", "\"/v1/chat/completions\" or \"/v1/completions\"");
  if (url != "/v1/chat/completions" && url != "/v1/completions") {
    bad("url", "\"/v1/chat/completions\" or \"/v1/completions\"", url);
  }
  out.form = url == "/v1/completions" ? Form::kCompletion : Form::kChat;
  for (const auto& [key, value] : object.items()) {
    require(key == "custom_id" || key == "method" || key == "url" || key == "body", ExitCode::kBadInput,
            "unknown key \"{}\": expected custom_id, method, url and body", runtime::printable(key));
  }
  if (const json& body = need(object, "body", "an object"); !body.is_object()) {
    bad("body", "an object", body);
  }
}

}  // namespace

BatchLine parse_batch_line(std::string_view line, std::int64_t number) {
  BatchLine out;
  out.request = named_by_line(number);
  try {
    out.error_kind = "invalid_json";
    const std::string name = format("line {}", number);
    const json object = runtime::parse_json_strictly(line, name, LineReader::kLongestLine);
    out.error_kind = "invalid_request";
    if (!object.is_object()) {
      bad(name, "a JSON object", object);
    }
    if (!is_openai(object)) {
      out.form = Form::kPlain;
      take_request(out.request, line, object);
    } else {
      out.form = Form::kChat;  // until the url is known: the error has the same form for both
      take_envelope(out, object);
      take_openai_body(out, line, object["body"]);
    }
  } catch (const Error& error) {
    out.request.error = error;
  }
  if (!out.request.error) {
    out.error_kind.clear();
  }
  return out;
}

BatchLine too_long_line(std::int64_t number) {
  BatchLine out;
  out.request = named_by_line(number);
  out.error_kind = "line_too_long";
  out.request.error.emplace(ExitCode::kBadInput,
                            format("line {}: expected at most {} bytes, found more", number, LineReader::kLongestLine));
  return out;
}

}  // namespace unmask::launcher
