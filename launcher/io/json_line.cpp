// SPDX-License-Identifier: Apache-2.0
#include "launcher/io/json_line.h"

#include <string_view>
#include <utility>

namespace unmask::launcher {

std::string as_json_line(std::string json) {
  for (const auto& [character, escape] : {std::pair<std::string_view, std::string_view>{"\xC2\x85", "\\u0085"},
                                          {"\xE2\x80\xA8", "\\u2028"}, {"\xE2\x80\xA9", "\\u2029"}}) {
    for (auto at = json.find(character); at != json.npos; at = json.find(character, at + escape.size())) {
      json.replace(at, character.size(), escape);
    }
  }
  return json;
}

}  // namespace unmask::launcher
