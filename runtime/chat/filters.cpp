// SPDX-License-Identifier: Apache-2.0
// Filters on texts and single values, and the table of all filters.
#include <algorithm>
#include <array>

#include "runtime/chat/filters.h"
#include "runtime/chat/operations.h"
#include "runtime/chat/printing.h"
#include "runtime/chat/text_functions.h"
#include "runtime/chat/unicode.h"

namespace unmask::runtime::chat {
namespace {

Text input_text(const Call& call) { return to_text(call.input, call.meter); }

template <Text (*function)(const Text&, Meter&)>
Value text_filter(const Call& call) {
  call.bind({});
  return function(input_text(call), call.meter);
}

Value trim(const Call& call) {
  const auto bound = call.bind({"chars"});
  const bool all_space = !bound[0] || bound[0]->is(Kind::kNone);
  return strip(input_text(call), Side::kBoth, all_space ? std::nullopt : std::optional(require_text(*bound[0], "trim")), call.meter);
}

Value string_filter(const Call& call) {
  call.bind({});
  return input_text(call);
}

Value replace_filter(const Call& call) {
  const auto bound = call.bind({"old", "new", "count"}, 2);
  const bool all = !bound[2] || bound[2]->is(Kind::kNone);
  return replace(input_text(call), to_text(*bound[0], call.meter), to_text(*bound[1], call.meter),
                 all ? -1 : require_int(*bound[2], "replace"), call.meter);
}

Value tojson(const Call& call) {
  const auto bound = call.bind({"ensure_ascii", "indent", "separators", "sort_keys"});
  if ((bound[0] && is_true(*bound[0])) || (bound[2] && !bound[2]->is(Kind::kNone)) || (bound[3] && is_true(*bound[3]))) {
    throw TemplateError("tojson with ensure_ascii, separators or sort_keys is not supported");
  }
  const bool has_indent = bound[1] && !bound[1]->is(Kind::kNone);
  return to_json(call.input, has_indent ? std::optional(require_int(*bound[1], "tojson")) : std::nullopt, call.meter);
}

Value default_filter(const Call& call) {
  const auto bound = call.bind({"default_value", "boolean"});
  const bool replace = call.input.is(Kind::kUndefined) || (bound[1] && is_true(*bound[1]) && !is_true(call.input));
  return replace ? bound[0].value_or(Text()) : call.input;
}

Value indent(const Call& call) {
  const auto bound = call.bind({"width", "first", "blank"});
  constexpr std::int64_t kDefaultWidth = 4;
  const Value width = bound[0].value_or(kDefaultWidth);
  const Text newline("\n", Origin::kTemplate);
  const Text space = width.is(Kind::kString)
                         ? width.text()
                         : repeat(Text(" ", Origin::kTemplate), require_int(width, "indent"), call.meter);
  const bool first = bound[1] && is_true(*bound[1]);
  const bool blank = bound[2] && is_true(*bound[2]);
  const std::vector<Text> lines = split_lines(concat(require_text(call.input, "indent"), newline, call.meter), call.meter);
  TextBuilder out(call.meter);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) {
      out.append(newline);
    }
    if (i == 0 ? first : blank || !lines[i].empty()) {
      out.append(space);
    }
    out.append(lines[i]);
  }
  return out.finish();
}

struct FilterEntry {
  std::string_view name;
  Value (*function)(const Call&);
};

constexpr std::array kFilters = {
    FilterEntry{"trim", trim},
    FilterEntry{"lower", text_filter<to_lower>},
    FilterEntry{"upper", text_filter<to_upper>},
    FilterEntry{"capitalize", text_filter<capitalize>},
    FilterEntry{"title", text_filter<title_filter>},
    FilterEntry{"escape", text_filter<escape_html>},
    FilterEntry{"e", text_filter<escape_html>},
    FilterEntry{"safe", string_filter},
    FilterEntry{"string", string_filter},
    FilterEntry{"replace", replace_filter},
    FilterEntry{"tojson", tojson},
    FilterEntry{"default", default_filter},
    FilterEntry{"d", default_filter},
    FilterEntry{"indent", indent},
    FilterEntry{"int", int_filter},
    FilterEntry{"float", float_filter},
    FilterEntry{"abs", abs_filter},
    FilterEntry{"length", length_filter},
    FilterEntry{"count", length_filter},
    FilterEntry{"join", join_filter},
    FilterEntry{"first", first_filter},
    FilterEntry{"last", last_filter},
    FilterEntry{"list", list_filter},
    FilterEntry{"reverse", reverse_filter},
    FilterEntry{"items", items_filter},
    FilterEntry{"dictsort", dictsort_filter},
    FilterEntry{"map", map_filter},
    FilterEntry{"select", select_filter},
    FilterEntry{"reject", select_filter},
    FilterEntry{"selectattr", select_filter},
    FilterEntry{"rejectattr", select_filter},
};

const FilterEntry* find_filter(std::string_view name) {
  const auto* found = std::find_if(kFilters.begin(), kFilters.end(), [&](const FilterEntry& entry) { return entry.name == name; });
  return found == kFilters.end() ? nullptr : found;
}

}  // namespace

bool is_known_filter(std::string_view name) { return find_filter(name) != nullptr; }

Value apply_filter(const Call& call) {
  const FilterEntry* filter = find_filter(call.name);
  if (filter == nullptr) {
    throw TemplateError("the filter '" + std::string(call.name.substr(0, 100)) + "' is not supported");
  }
  return filter->function(call);
}

}  // namespace unmask::runtime::chat
