// SPDX-License-Identifier: Apache-2.0
// Upper, lower and title case of text_functions.h.
#include "runtime/chat/text_functions.h"
#include "runtime/chat/unicode.h"

namespace unmask::runtime::chat {
namespace {

void append_mapped(TextBuilder& out, const Text& text, std::size_t at, char32_t c, Case target, Origin origin) {
  if (c == kCapitalSigma && target == Case::kLower && is_final_sigma(text.bytes(), at)) {
    return out.append(kFinalSigma, origin);
  }
  const CaseMapping mapping = map_case(c, target);
  for (std::size_t i = 0; i < mapping.count; ++i) {
    out.append(mapping.points[i], origin);
  }
}

/// Maps every character to what `choose(previous character)` says, where the first has none (0).
template <class Choose>
Text map_text(const Text& text, Meter& meter, Choose choose) {
  TextBuilder out(meter);
  char32_t previous = 0;
  for (TextReader reader(text); !reader.done();) {
    const std::size_t at = reader.at();
    const char32_t c = reader.next();
    append_mapped(out, text, at, c, choose(at == 0, previous), reader.origin());
    previous = c;
  }
  return out.finish();
}

bool ends_word(char32_t c) { return is_space(c) || c == U'-' || c == U'(' || c == U'{' || c == U'[' || c == U'<'; }

}  // namespace

Text to_lower(const Text& text, Meter& meter) {
  return map_text(text, meter, [](bool, char32_t) { return Case::kLower; });
}

Text to_upper(const Text& text, Meter& meter) {
  return map_text(text, meter, [](bool, char32_t) { return Case::kUpper; });
}

Text capitalize(const Text& text, Meter& meter) {
  return map_text(text, meter, [](bool is_first, char32_t) { return is_first ? Case::kTitle : Case::kLower; });
}

Text title(const Text& text, Meter& meter) {
  return map_text(text, meter, [](bool, char32_t previous) { return is_cased(previous) ? Case::kLower : Case::kTitle; });
}

Text title_filter(const Text& text, Meter& meter) {
  TextBuilder out(meter);
  std::size_t begin = 0;
  while (begin < text.size()) {  // each run of separators or of other characters: its first upper, the rest lower
    const CodePoint first = code_point_at(text.bytes(), begin);
    const bool separators = ends_word(first.value);
    std::size_t end = begin + first.bytes;
    while (end < text.size()) {
      const CodePoint c = code_point_at(text.bytes(), end);
      if (ends_word(c.value) != separators) {
        break;
      }
      end += c.bytes;
    }
    out.append(to_upper(text.slice(begin, begin + first.bytes), meter));
    out.append(to_lower(text.slice(begin + first.bytes, end), meter));
    begin = end;
  }
  return out.finish();
}

}  // namespace unmask::runtime::chat
