// SPDX-License-Identifier: Apache-2.0
// For compare_template.py: reads one JSON object per line, {"template", "messages", "add_generation_prompt"}, and writes one per
// line: {"text", "user"} (byte spans) or {"error"}.
#include <cstdio>
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "runtime/chat/chat_template.h"

int main() {
  using unmask::runtime::ChatTemplate;
  std::ios::sync_with_stdio(false);
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto request = nlohmann::ordered_json::parse(line);
    nlohmann::ordered_json answer;
    try {
      const ChatTemplate chat = ChatTemplate::parse(request.at("template").get<std::string>(), "test");
      const auto result = chat.render(request.at("messages"), {.add_generation_prompt = request.at("add_generation_prompt").get<bool>()});
      answer["text"] = result.text;
      answer["user"] = nlohmann::ordered_json::array();
      for (const auto& span : result.user) {
        answer["user"].push_back({span.begin, span.end});
      }
    } catch (const unmask::Error& error) {
      answer["error"] = error.what();
    }
    std::cout << answer.dump() << '\n';
  }
  return 0;
}
