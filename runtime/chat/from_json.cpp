// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/from_json.h"

#include <limits>

#include <nlohmann/json.hpp>

#include "runtime/chat/unicode.h"

namespace unmask::runtime::chat {
namespace {

Value text_of(const std::string& bytes, Origin origin) {
  if (const auto invalid = first_invalid_utf8(bytes)) {
    throw TemplateError("a text of the messages is not valid UTF-8 (at its byte " + std::to_string(*invalid) + ")");
  }
  return Text(bytes, origin);
}

Value list_of(const nlohmann::ordered_json& json, Origin origin, int depth) {
  auto list = std::make_shared<List>();
  for (const auto& item : json) {
    list->items.push_back(from_json(item, origin, depth + 1));
    list->depth = std::max(list->depth, list->items.back().depth() + 1);
  }
  return std::shared_ptr<const List>(std::move(list));
}

}  // namespace

Value from_json(const nlohmann::ordered_json& json, Origin origin, int depth) {
  if (depth > kMaxJsonDepth) {
    throw TemplateError("the messages are nested deeper than " + std::to_string(kMaxJsonDepth));
  }
  switch (json.type()) {
    case nlohmann::json::value_t::boolean: return json.get<bool>();
    case nlohmann::json::value_t::number_integer: return json.get<std::int64_t>();
    case nlohmann::json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        throw TemplateError("an integer of the messages does not fit into 64 bits, which is not supported");
      }
      return json.get<std::int64_t>();
    case nlohmann::json::value_t::number_float: return json.get<double>();
    case nlohmann::json::value_t::string: return text_of(json.get_ref<const std::string&>(), origin);
    case nlohmann::json::value_t::array: return list_of(json, origin, depth);
    case nlohmann::json::value_t::object: {
      Dict dict;
      for (const auto& [key, value] : json.items()) {
        dict.set(text_of(key, origin), from_json(value, origin, depth + 1));
      }
      return make_dict(std::move(dict));
    }
    case nlohmann::json::value_t::null:
    case nlohmann::json::value_t::binary:
    case nlohmann::json::value_t::discarded: break;
  }
  return None{};
}

}  // namespace unmask::runtime::chat
