// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "base/format.h"
#include "runtime/chat/printing.h"

namespace unmask::runtime::chat {
namespace {

class JsonWriter {
 public:
  JsonWriter(std::optional<std::int64_t> indent, Meter& meter) : meter_(meter), out_(meter) {
    if (indent) {
      newline_ = true;
      indent_ = std::string(static_cast<std::size_t>(std::max<std::int64_t>(*indent, 0)), ' ');
    }
  }

  void write(const Value& value);
  Text finish() { return out_.finish(); }

 private:
  void literal(std::string_view bytes) { out_.append(bytes, Origin::kTemplate); }
  void quoted(const Text& text);
  void separate(std::size_t index);  ///< before item number `index` of an array or object
  void close(char bracket);
  void write_list(const List& list);
  void write_dict(const Dict& dict);
  void write_key(const Value& key);

  Meter& meter_;
  TextBuilder out_;
  bool newline_ = false;
  std::string indent_;
  int depth_ = 0;
};

void JsonWriter::quoted(const Text& text) {
  literal("\"");
  for (TextReader reader(text); !reader.done();) {
    const char32_t c = reader.next();
    switch (c) {
      case U'"': out_.append("\\\"", reader.origin()); break;
      case U'\\': out_.append("\\\\", reader.origin()); break;
      case U'\n': out_.append("\\n", reader.origin()); break;
      case U'\r': out_.append("\\r", reader.origin()); break;
      case U'\t': out_.append("\\t", reader.origin()); break;
      case U'\f': out_.append("\\f", reader.origin()); break;
      case U'\b': out_.append("\\b", reader.origin()); break;
      default:
        if (c < 0x20) {
          out_.append(format("\\u{:04x}", static_cast<std::uint32_t>(c)), reader.origin());
        } else {
          out_.append(c, reader.origin());
        }
    }
  }
  literal("\"");
}

void JsonWriter::separate(std::size_t index) {
  if (newline_) {
    literal(index == 0 ? "\n" : ",\n");
    for (int i = 0; i < depth_; ++i) {
      literal(indent_);
    }
  } else if (index > 0) {
    literal(", ");
  }
}

void JsonWriter::close(char bracket) {
  --depth_;
  if (newline_) {
    separate(0);
  }
  literal({&bracket, 1});
}

void JsonWriter::write_list(const List& list) {
  if (list.kind != ListKind::kList && list.kind != ListKind::kTuple) {
    throw TemplateError("tojson of an iterator or view (put |list before it)");
  }
  if (list.items.empty()) {
    return literal("[]");
  }
  literal("[");
  ++depth_;
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    separate(i);
    write(list.items[i]);
  }
  close(']');
}

void JsonWriter::write_key(const Value& key) {
  if (key.is(Kind::kString)) {
    return quoted(key.text());
  }
  literal("\"");
  write(key);
  literal("\"");
}

void JsonWriter::write_dict(const Dict& dict) {
  if (dict.items.empty()) {
    return literal("{}");
  }
  literal("{");
  ++depth_;
  for (std::size_t i = 0; i < dict.items.size(); ++i) {
    separate(i);
    write_key(dict.items[i].first);
    literal(": ");
    write(dict.items[i].second);
  }
  close('}');
}

void JsonWriter::write(const Value& value) {
  meter_.step();
  switch (value.kind()) {
    case Kind::kNone: return literal("null");
    case Kind::kBool: return literal(*value.get_if<bool>() ? "true" : "false");
    case Kind::kInt: return literal(std::to_string(*value.get_if<std::int64_t>()));
    case Kind::kString: return quoted(value.text());
    case Kind::kList: return write_list(value.list());
    case Kind::kDict: return write_dict(value.dict());
    case Kind::kFloat: {
      const double number = *value.get_if<double>();
      return literal(std::isnan(number) ? "NaN" : std::isinf(number) ? (number > 0 ? "Infinity" : "-Infinity") : float_repr(number));
    }
    case Kind::kUndefined:
    case Kind::kNamespace:
    case Kind::kLoop:
    case Kind::kMethod:
    case Kind::kFunction: break;
  }
  require_defined(value);
  throw TemplateError("tojson of a " + type_name(value));
}

}  // namespace

Text to_json(const Value& value, std::optional<std::int64_t> indent, Meter& meter) {
  constexpr std::int64_t kMaxIndent = 1000;
  if (indent && *indent > kMaxIndent) {
    throw TemplateError("tojson with an indent above 1000");
  }
  JsonWriter writer(indent, meter);
  writer.write(value);
  return writer.finish();
}

}  // namespace unmask::runtime::chat
