// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/types.h"
#include "launcher/options/option_spec.h"

namespace unmask::launcher {

// What the forms of a request line share. All of it throws Error(kBadInput); `key` is for the message.

[[noreturn]] void bad(std::string_view key, std::string_view expected, const nlohmann::json& found);

/// The value of a sampling option as the texts that the command line would have for it.
std::vector<std::string> option_texts(const OptionSpec& spec, std::string_view key, const nlohmann::json& value);

/// An array of objects with the strings "role" and "content".
void check_messages(std::string_view key, const nlohmann::json& messages);

/// The messages as JSON text with their members in the order written, which a template may print: `text` is the array, or an
/// object with it at `member`.
std::string ordered_messages(std::string_view text, const char* member);

std::vector<TokenId> token_array(std::string_view key, const nlohmann::json& value);

}  // namespace unmask::launcher
