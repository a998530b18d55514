// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "runtime/chat/text.h"

// Methods of Python's str; each character of a result keeps its origin.
namespace unmask::runtime::chat {

Text to_lower(const Text& text, Meter& meter);
Text to_upper(const Text& text, Meter& meter);
Text capitalize(const Text& text, Meter& meter);
Text title(const Text& text, Meter& meter);         ///< str.title()
Text title_filter(const Text& text, Meter& meter);  ///< jinja2's filter: words end at spaces and -({[<

enum class Side { kBoth, kLeft, kRight };
/// Without `characters`: white space.
Text strip(const Text& text, Side side, const std::optional<Text>& characters, Meter& meter);
/// At most `count` times where count is not negative.
Text replace(const Text& text, const Text& from, const Text& to, std::int64_t count, Meter& meter);
/// Without a separator: at runs of white space, none at the ends.
std::vector<Text> split(const Text& text, const std::optional<Text>& separator, std::int64_t max_splits, Meter& meter);
std::vector<Text> split_lines(const Text& text, Meter& meter);
Text join(const Text& separator, const std::vector<Text>& parts, Meter& meter);
Text reversed(const Text& text, Meter& meter);
/// & < > ' " as HTML entities.
Text escape_html(const Text& text, Meter& meter);

}  // namespace unmask::runtime::chat
