// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "runtime/tokenizer/json_fields.h"
#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime::tokenizer {

bool overlaps(std::span<const SourcedText::Span> spans, std::size_t begin, std::size_t end) {
  const auto first = std::partition_point(spans.begin(), spans.end(), [&](const auto& span) { return span.end <= begin; });
  return first != spans.end() && first->begin < end && begin < end;
}

UserSpans slice(std::span<const SourcedText::Span> spans, std::size_t begin, std::size_t end) {
  UserSpans out;
  auto span = std::partition_point(spans.begin(), spans.end(), [&](const auto& s) { return s.end <= begin; });
  for (; span != spans.end() && span->begin < end; ++span) {
    out.push_back({std::max(span->begin, begin) - begin, std::min(span->end, end) - begin});
  }
  return out;
}

Normalizer Normalizer::parse(const nlohmann::json& value, const std::string& where) {
  Normalizer normalizer;
  if (value.is_null()) {
    return normalizer;
  }
  Fields fields(value, where);
  const std::string type = fields.text("type");
  if (type == "NFC") {
    normalizer.nfc_ = true;
  } else if (type == "Sequence") {
    const nlohmann::json& parts = fields.get("normalizers");
    require(parts.is_array(), ExitCode::kBadInput, "{}: \"normalizers\" is no array", where);
    for (const nlohmann::json& part : parts) {
      normalizer.nfc_ |= parse(part, where).nfc_;
    }
  } else {
    fail(ExitCode::kBadInput, "{}: the type {} is not supported, only NFC and Sequence are", where, shown(type));
  }
  fields.finish();
  return normalizer;
}

namespace {

using Characters = std::vector<utf8proc_int32_t>;

/// True if no character before `c` can change with it: a starter that is never the second of a composition. The seconds
/// are marks and the Hangul vowels and finals.
bool begins_segment(char32_t c) {
  if (c < 0x300) {
    return true;
  }
  if (c >= 0x1160 && c <= 0x11FF) {
    return false;
  }
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
  return property->combining_class == 0 && property->category != UTF8PROC_CATEGORY_MN &&
         property->category != UTF8PROC_CATEGORY_MC && property->category != UTF8PROC_CATEGORY_ME;
}

/// Canonical decomposition, ordering of marks, composition (UAX 15). Done in steps, because utf8proc_decompose orders
/// marks by exchanging neighbours: quadratic on a text of nothing but marks.
void append_composed(std::string& out, std::string_view segment, Characters& buffer) {
  buffer.clear();
  for (std::size_t at = 0; at < segment.size();) {
    const Utf8Head head = utf8_head(segment.substr(at));
    at += head.length;
    std::array<utf8proc_int32_t, 32> parts{};
    int boundary = 0;
    const utf8proc_ssize_t num_parts =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(head.character), parts.data(), parts.size(), UTF8PROC_DECOMPOSE, &boundary);
    UNMASK_CHECK(num_parts >= 0 && num_parts <= 32, "decomposition of U+{:04X}: {}", static_cast<std::uint32_t>(head.character), num_parts);
    buffer.insert(buffer.end(), parts.begin(), parts.begin() + num_parts);
  }
  const auto combining_class = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (auto begin = buffer.begin(); begin != buffer.end();) {
    const auto end = std::find_if(begin, buffer.end(), [&](utf8proc_int32_t c) { return combining_class(c) == 0; });
    std::stable_sort(begin, end, [&](auto a, auto b) { return combining_class(a) < combining_class(b); });
    begin = end == buffer.end() ? end : end + 1;
  }
  const utf8proc_ssize_t length = utf8proc_normalize_utf32(buffer.data(), static_cast<utf8proc_ssize_t>(buffer.size()),
                                                           static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  UNMASK_CHECK(length >= 0, "composition: {}", length);
  for (utf8proc_ssize_t i = 0; i < length; ++i) {
    append_utf8(out, static_cast<char32_t>(buffer[size(i)]));
  }
}

void add_span(UserSpans& spans, std::size_t begin, std::size_t end) {
  if (!spans.empty() && spans.back().end == begin) {
    spans.back().end = end;
  } else if (begin < end) {
    spans.push_back({begin, end});
  }
}

}  // namespace

SourcedText Normalizer::apply(std::string_view text, std::span<const SourcedText::Span> user) const {
  SourcedText out;
  if (!nfc_) {
    out.text = text;
    out.user.assign(user.begin(), user.end());
    return out;
  }
  out.text.reserve(text.size());
  Characters buffer;
  auto span = user.begin();
  for (std::size_t begin = 0; begin < text.size();) {
    const Utf8Head first = utf8_head(text.substr(begin));
    std::size_t end = begin + first.length;
    while (end < text.size() && static_cast<unsigned char>(text[end]) >= 0x80) {
      const Utf8Head head = utf8_head(text.substr(end));
      if (begins_segment(head.character)) {
        break;
      }
      end += head.length;
    }
    const std::size_t written = out.text.size();
    if (end - begin == first.length && first.character < 0x300) {
      out.text.append(text, begin, first.length);  // below U+0300 every character is composed already
    } else {
      append_composed(out.text, text.substr(begin, end - begin), buffer);
    }
    while (span != user.end() && span->end <= begin) {
      ++span;
    }
    if (span != user.end() && span->begin < end) {
      add_span(out.user, written, out.text.size());
    }
    begin = end;
  }
  return out;
}

}  // namespace unmask::runtime::tokenizer
