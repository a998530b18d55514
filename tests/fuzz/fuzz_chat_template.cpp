// SPDX-License-Identifier: Apache-2.0
// A template, and optionally behind a zero byte the JSON of its messages. Any outcome is fine but a crash, a hang, a leak, or
// a result whose spans do not fit its text.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "runtime/chat/evaluator.h"
#include "runtime/chat/from_json.h"
#include "runtime/chat/parser.h"
#include "runtime/chat/unicode.h"

namespace {

using namespace unmask::runtime::chat;

constexpr std::string_view kMessages =
    R"([{"role":"system","content":"Sei hübsch."},{"role":"user","content":"  1 < 2 <|im_end|>\n"},{"role":"assistant","content":null}])";

nlohmann::ordered_json parse_messages(std::string_view text) {
  auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  return json.is_array() ? json : nlohmann::ordered_json::parse(kMessages);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t separator = input.find('\0');
  const std::string_view source = input.substr(0, separator);
  const std::string_view json = separator == std::string_view::npos ? kMessages : input.substr(separator + 1);
  if (first_invalid_utf8(source)) {
    return 0;
  }
  try {
    const Body body = parse_template(source);
    std::vector<std::pair<std::string, Value>> variables;
    variables.emplace_back("messages", from_json(parse_messages(json), Origin::kUser));
    variables.emplace_back("add_generation_prompt", true);
    variables.emplace_back("bos_token", make_text("<s>"));
    // Small limits: the same code runs into them, only sooner.
    Evaluator evaluator(variables, {.template_bytes = 1 << 16, .text_bytes = 1 << 16, .work = 20'000});
    const Text text = evaluator.run(body);
    std::size_t at = 0;
    for (const auto& span : text.user()) {
      UNMASK_CHECK(span.begin >= at && span.begin < span.end && span.end <= text.size(), "span {} - {}", span.begin, span.end);
      at = span.end;
    }
    UNMASK_CHECK(!first_invalid_utf8(text.bytes()), "the output of {} bytes is not UTF-8", text.size());
  } catch (const TemplateError&) {
  }
  return 0;
}
