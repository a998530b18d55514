// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/error.h"
#include "base/types.h"
#include "launcher/options/option_values.h"

namespace unmask::launcher {

/// One thing to be answered, as the user gave it.
struct RequestInput {
  enum class Kind { kText, kTokens, kMessages };

  std::string id;       ///< keys its random numbers
  std::string id_json;  ///< the same as the caller wrote it, for the answer
  Kind kind = Kind::kText;
  std::string text;     ///< kText: the prompt; kMessages: a JSON array of {"role", "content"}, checked
  std::vector<TokenId> tokens;     ///< kTokens
  OptionValues::Given sampling;    ///< checked
  std::optional<Error> error;      ///< it cannot be run; id is still right where it could be read
};

/// One line of a request file (DESIGN.md section 7): exactly one of prompt, prompt_tokens and messages, an optional id (a
/// string or a whole number, else `number` as a string), any sampling option. Never throws for what the line holds.
RequestInput parse_request_line(std::string_view line, std::int64_t number);

// The two steps of it, for who has parsed the line already.

/// Nothing but an id, which is the number of the line until a better one is found.
RequestInput named_by_line(std::int64_t number);
/// The rest; `object` was parsed from `line`. Throws Error(kBadInput); the id is taken first, so that it is there beside an error.
void take_request(RequestInput& request, std::string_view line, const nlohmann::json& object);

/// "1,2,3" (blanks allowed, empty: no tokens). Throws Error(kUsage) with the part that is no token id.
std::vector<TokenId> parse_token_list(std::string_view list, std::string_view option);

/// The same as a JSON array. Throws Error(kBadInput); `name` is for messages.
std::vector<TokenId> parse_token_array(std::string_view json, std::string_view name);

/// A file for --messages: an array of messages or an object with such an array. Returns the array as JSON text.
std::string parse_messages(std::string_view json, std::string_view name);

}  // namespace unmask::launcher
