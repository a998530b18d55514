// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/text_functions.h"

#include <algorithm>
#include <set>

#include "runtime/chat/unicode.h"

namespace unmask::runtime::chat {
namespace {

constexpr std::size_t kNone = std::string_view::npos;

std::vector<Text> split_at_space(const Text& text, std::int64_t max_splits) {
  std::vector<Text> parts;
  const std::string_view bytes = text.bytes();
  std::size_t at = 0;
  const auto skip = [&](bool spaces) {
    while (at < bytes.size()) {
      const CodePoint c = code_point_at(bytes, at);
      if (is_space(c.value) != spaces) {
        break;
      }
      at += c.bytes;
    }
  };
  for (skip(true); at < bytes.size(); skip(true)) {
    const std::size_t begin = at;
    if (max_splits >= 0 && parts.size() == static_cast<std::size_t>(max_splits)) {
      std::size_t end = bytes.size();
      while (is_space(code_point_before(bytes, end).value)) {
        end -= code_point_before(bytes, end).bytes;
      }
      parts.push_back(text.slice(begin, end));
      break;
    }
    skip(false);
    parts.push_back(text.slice(begin, at));
  }
  return parts;
}

}  // namespace

Text strip(const Text& text, Side side, const std::optional<Text>& characters, Meter& meter) {
  meter.bytes(text.size());
  std::set<char32_t> wanted;
  if (characters) {
    meter.work(characters->size());
    for (TextReader reader(*characters); !reader.done();) {
      wanted.insert(reader.next());
    }
  }
  const auto is_stripped = [&](char32_t c) { return characters ? wanted.contains(c) : is_space(c); };
  const std::string_view bytes = text.bytes();
  std::size_t begin = 0;
  std::size_t end = bytes.size();
  while (side != Side::kRight && begin < end && is_stripped(code_point_at(bytes, begin).value)) {
    begin += code_point_at(bytes, begin).bytes;
  }
  while (side != Side::kLeft && begin < end && is_stripped(code_point_before(bytes, end).value)) {
    end -= code_point_before(bytes, end).bytes;
  }
  return text.slice(begin, end);
}

Text replace(const Text& text, const Text& from, const Text& to, std::int64_t count, Meter& meter) {
  meter.bytes(text.size());
  TextBuilder out(meter);
  std::size_t at = 0;
  const std::string_view bytes = text.bytes();
  for (std::int64_t done = 0; count < 0 || done < count; ++done) {
    const std::size_t found = bytes.find(from.bytes(), at);
    if (found == kNone) {
      break;
    }
    meter.step();
    out.append(text.slice(at, found));
    out.append(to);
    at = found + from.size();
    if (from.empty()) {  // before every character and at the end
      if (at == bytes.size()) {
        break;
      }
      const std::size_t next = at + code_point_at(bytes, at).bytes;
      out.append(text.slice(at, next));
      at = next;
    }
  }
  out.append(text.slice(at, bytes.size()));
  return out.finish();
}

std::vector<Text> split(const Text& text, const std::optional<Text>& separator, std::int64_t max_splits, Meter& meter) {
  meter.bytes(text.size());
  if (!separator) {
    return split_at_space(text, max_splits);
  }
  if (separator->empty()) {
    throw TemplateError("split() with an empty separator");
  }
  std::vector<Text> parts;
  std::size_t at = 0;
  while (max_splits < 0 || parts.size() < static_cast<std::size_t>(max_splits)) {
    const std::size_t found = text.bytes().find(separator->bytes(), at);
    if (found == kNone) {
      break;
    }
    meter.step();
    parts.push_back(text.slice(at, found));
    at = found + separator->size();
  }
  parts.push_back(text.slice(at, text.size()));
  return parts;
}

std::vector<Text> split_lines(const Text& text, Meter& meter) {
  meter.bytes(text.size());
  std::vector<Text> lines;
  const std::string_view bytes = text.bytes();
  std::size_t begin = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    const CodePoint c = code_point_at(bytes, at);
    const std::size_t end = at;
    at += c.bytes;
    if (is_line_break(c.value)) {
      at += c.value == U'\r' && at < bytes.size() && bytes[at] == '\n' ? 1U : 0U;
      meter.step();
      lines.push_back(text.slice(begin, end));
      begin = at;
    }
  }
  if (begin < bytes.size()) {
    lines.push_back(text.slice(begin, bytes.size()));
  }
  return lines;
}

Text join(const Text& separator, const std::vector<Text>& parts, Meter& meter) {
  TextBuilder out(meter);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) {
      out.append(separator);
    }
    out.append(parts[i]);
  }
  return out.finish();
}

Text reversed(const Text& text, Meter& meter) {
  TextBuilder out(meter);
  const std::string_view bytes = text.bytes();
  meter.work(text.size());
  for (std::size_t end = bytes.size(); end > 0;) {
    const std::size_t begin = end - code_point_before(bytes, end).bytes;
    out.append(text.slice(begin, end));
    end = begin;
  }
  return out.finish();
}

Text escape_html(const Text& text, Meter& meter) {
  TextBuilder out(meter);
  for (TextReader reader(text); !reader.done();) {
    const char32_t c = reader.next();
    switch (c) {
      case U'&': out.append("&amp;", reader.origin()); break;
      case U'<': out.append("&lt;", reader.origin()); break;
      case U'>': out.append("&gt;", reader.origin()); break;
      case U'\'': out.append("&#39;", reader.origin()); break;
      case U'"': out.append("&#34;", reader.origin()); break;
      default: out.append(c, reader.origin());
    }
  }
  return out.finish();
}

}  // namespace unmask::runtime::chat
