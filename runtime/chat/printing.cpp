// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/printing.h"

#include <charconv>
#include <cmath>

#include "base/format.h"
#include "runtime/chat/unicode.h"

namespace unmask::runtime::chat {
namespace {

class Printer {
 public:
  explicit Printer(Meter& meter) : meter_(meter), out_(meter) {}

  void print(const Value& value);
  Text finish() { return out_.finish(); }

 private:
  void literal(std::string_view bytes) { out_.append(bytes, Origin::kTemplate); }
  void quoted(const Text& text);
  void items(const List& list, std::string_view open, std::string_view close);
  void print_list(const List& list);
  void print_dict(const Dict& dict);

  Meter& meter_;
  TextBuilder out_;
};

void Printer::quoted(const Text& text) {
  const bool has_single = text.bytes().find('\'') != std::string_view::npos;
  const char32_t quote = has_single && text.bytes().find('"') == std::string_view::npos ? U'"' : U'\'';
  out_.append(quote, Origin::kTemplate);
  for (TextReader reader(text); !reader.done();) {
    const char32_t c = reader.next();
    std::string escaped;
    if (c == quote || c == U'\\') {
      escaped = {'\\', static_cast<char>(c)};
    } else if (c == U'\n' || c == U'\r' || c == U'\t') {
      escaped = c == U'\n' ? "\\n" : c == U'\r' ? "\\r" : "\\t";
    } else if (!is_printable(c)) {
      const auto number = static_cast<std::uint32_t>(c);
      escaped = c < 0x100 ? format("\\x{:02x}", number) : c < 0x10000 ? format("\\u{:04x}", number) : format("\\U{:08x}", number);
    }
    if (escaped.empty()) {
      out_.append(c, reader.origin());
    } else {
      out_.append(escaped, reader.origin());
    }
  }
  out_.append(quote, Origin::kTemplate);
}

void Printer::items(const List& list, std::string_view open, std::string_view close) {
  literal(open);
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) {
      literal(", ");
    }
    print(list.items[i]);
  }
  literal(close);
}

void Printer::print_list(const List& list) {
  switch (list.kind) {
    case ListKind::kList: return items(list, "[", "]");
    case ListKind::kTuple: return items(list, "(", list.items.size() == 1 ? ",)" : ")");
    case ListKind::kDictKeys: return items(list, "dict_keys([", "])");
    case ListKind::kDictValues: return items(list, "dict_values([", "])");
    case ListKind::kDictItems: return items(list, "dict_items([", "])");
    case ListKind::kIterator: break;
    case ListKind::kRange:
      literal(list.range[2] == 1 ? format("range({}, {})", list.range[0], list.range[1])
                                 : format("range({}, {}, {})", list.range[0], list.range[1], list.range[2]));
      return;
  }
  throw TemplateError("printing an iterator (put |list behind it)");
}

void Printer::print_dict(const Dict& dict) {
  literal("{");
  for (std::size_t i = 0; i < dict.items.size(); ++i) {
    if (i > 0) {
      literal(", ");
    }
    print(dict.items[i].first);
    literal(": ");
    print(dict.items[i].second);
  }
  literal("}");
}

void Printer::print(const Value& value) {
  meter_.step();
  switch (value.kind()) {
    case Kind::kUndefined: return literal("Undefined");
    case Kind::kNone: return literal("None");
    case Kind::kBool: return literal(*value.get_if<bool>() ? "True" : "False");
    case Kind::kInt: return literal(std::to_string(*value.get_if<std::int64_t>()));
    case Kind::kFloat: return literal(float_repr(*value.get_if<double>()));
    case Kind::kString: return quoted(value.text());
    case Kind::kList: return print_list(value.list());
    case Kind::kDict: return print_dict(value.dict());
    case Kind::kNamespace:
    case Kind::kLoop:
    case Kind::kMethod:
    case Kind::kFunction: break;
  }
  throw TemplateError("printing a " + type_name(value));
}

}  // namespace

std::string float_repr(double number) {
  if (std::isnan(number)) {
    return "nan";
  }
  if (std::isinf(number)) {
    return number > 0 ? "inf" : "-inf";
  }
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific).ptr;
  const std::string scientific(buffer, end);  // [-]d[.ddd]e[+-]dd, the shortest digits that read back
  const std::size_t e = scientific.find('e');
  const int exponent = std::stoi(scientific.substr(e + 1));
  if (exponent < -4 || exponent >= 16) {
    return scientific;
  }
  const auto fixed_end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::fixed).ptr;
  std::string fixed(buffer, fixed_end);
  if (fixed.find('.') == std::string::npos) {
    fixed += ".0";
  }
  return fixed;
}

Text to_repr(const Value& value, Meter& meter) {
  Printer printer(meter);
  printer.print(value);
  return printer.finish();
}

Text to_text(const Value& value, Meter& meter) {
  if (value.is(Kind::kString)) {
    return value.text();
  }
  if (value.is(Kind::kUndefined)) {
    return {};
  }
  return to_repr(value, meter);
}

}  // namespace unmask::runtime::chat
