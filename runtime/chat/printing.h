// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "runtime/chat/value.h"

namespace unmask::runtime::chat {

/// Python's str(value): what {{ value }} prints. Throws TemplateError for values whose text would hold an address.
Text to_text(const Value& value, Meter& meter);
/// repr(value).
Text to_repr(const Value& value, Meter& meter);
/// json.dumps(value, ensure_ascii=False, indent=indent): transformers' tojson. Throws TemplateError for what has no JSON.
Text to_json(const Value& value, std::optional<std::int64_t> indent, Meter& meter);
std::string float_repr(double number);

}  // namespace unmask::runtime::chat
