// SPDX-License-Identifier: Apache-2.0
// Literals of the lexer: Python's string escapes and numbers.
#include <charconv>

#include "base/format.h"
#include "runtime/chat/lexer.h"
#include "runtime/chat/unicode.h"

namespace unmask::runtime::chat {
namespace {

int digit_value(char c) {
  if (is_digit(c)) {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 99;
}

/// jinja2 decodes literals after writing non-ASCII characters as escapes, which shows where a backslash stands before one.
std::string ascii_form(std::string_view literal) {
  std::string out;
  for (std::size_t at = 0; at < literal.size();) {
    const CodePoint c = code_point_at(literal, at);
    const auto number = static_cast<std::uint32_t>(c.value);
    if (number < 0x80) {
      out.push_back(literal[at]);
    } else {
      out += number < 0x100 ? format("\\x{:02x}", number) : number < 0x10000 ? format("\\u{:04x}", number) : format("\\U{:08x}", number);
    }
    at += c.bytes;
  }
  return out;
}

class Unescaper {
 public:
  Unescaper(std::string_view text, int line) : text_(text), line_(line) {}
  std::string run();

 private:
  void escape();
  void code_point(std::size_t num_digits);
  void octal();

  std::string_view text_;
  int line_;
  std::size_t at_ = 0;
  std::string out_;
};

void Unescaper::code_point(std::size_t num_digits) {
  char32_t value = 0;
  for (std::size_t i = 0; i < num_digits; ++i, ++at_) {
    const int digit = at_ < text_.size() ? digit_value(text_[at_]) : 99;
    if (digit > 15) {
      throw SyntaxError(line_, format("an escape in a string needs {} hexadecimal digits", num_digits));
    }
    value = value * 16 + static_cast<char32_t>(digit);
  }
  if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
    throw SyntaxError(line_, "an escape in a string names no Unicode character");
  }
  append_utf8(out_, value);
}

void Unescaper::octal() {
  char32_t value = 0;
  for (int i = 0; i < 3 && at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '7'; ++i, ++at_) {
    value = value * 8 + static_cast<char32_t>(text_[at_] - '0');
  }
  append_utf8(out_, value);
}

void Unescaper::escape() {
  const char c = text_[at_++];
  switch (c) {
    case '\n': return;
    case '\\':
    case '\'':
    case '"': out_.push_back(c); return;
    case 'a': out_.push_back('\a'); return;
    case 'b': out_.push_back('\b'); return;
    case 'f': out_.push_back('\f'); return;
    case 'n': out_.push_back('\n'); return;
    case 'r': out_.push_back('\r'); return;
    case 't': out_.push_back('\t'); return;
    case 'v': out_.push_back('\v'); return;
    case 'x': return code_point(2);
    case 'u': return code_point(4);
    case 'U': return code_point(8);
    case 'N': throw SyntaxError(line_, "the escape \\N{...} in a string is not supported");
    default: break;
  }
  if (c >= '0' && c <= '7') {
    --at_;
    return octal();
  }
  out_.push_back('\\');
  out_.push_back(c);
}

std::string Unescaper::run() {
  while (at_ < text_.size()) {
    const char c = text_[at_++];
    if (c == '\\' && at_ < text_.size()) {
      escape();
    } else {
      out_.push_back(c);
    }
  }
  return std::move(out_);
}

/// Length of (\d+_)*\d+ at `at`: digits, single underscores between them.
std::size_t digits(std::string_view text, std::size_t at) {
  const std::size_t begin = at;
  while (at < text.size() && (is_digit(text[at]) || (at > begin && text[at] == '_' && at + 1 < text.size() && is_digit(text[at + 1])))) {
    ++at;
  }
  return at - begin;
}

std::size_t float_length(std::string_view text) {
  const std::size_t whole = digits(text, 0);
  std::size_t end = whole;
  bool has_fraction = false;
  if (end < text.size() && text[end] == '.' && digits(text, end + 1) > 0) {
    has_fraction = true;
    end += 1 + digits(text, end + 1);
  }
  if (end < text.size() && (text[end] | 0x20) == 'e') {
    const std::size_t sign = end + 1 < text.size() && (text[end + 1] == '+' || text[end + 1] == '-') ? 1 : 0;
    const std::size_t exponent = digits(text, end + 1 + sign);
    if (exponent > 0) {
      return end + 1 + sign + exponent;
    }
  }
  return has_fraction ? end : 0;
}

std::string without_underscores(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != '_') {
      out.push_back(c);
    }
  }
  return out;
}

/// Length of (_?digit)+ in the given base.
std::size_t digits_of_base(std::string_view text, std::size_t at, int base) {
  const std::size_t begin = at;
  while (at < text.size()) {
    const std::size_t digit = text[at] == '_' ? at + 1 : at;
    if (digit >= text.size() || digit_value(text[digit]) >= base) {
      break;
    }
    at = digit + 1;
  }
  return at - begin;
}

}  // namespace

std::string unescape(std::string_view literal, int line) {
  if (literal.find('\\') == std::string_view::npos) {
    return std::string(literal);
  }
  const std::string ascii = ascii_form(literal);
  return Unescaper(ascii, line).run();
}

NumberLiteral read_number(std::string_view text, Numbers kinds, int line) {
  if (const std::size_t length = kinds == Numbers::kIntegers ? 0 : float_length(text); length > 0) {
    const std::string plain = without_underscores(text.substr(0, length));
    double value = 0;
    if (std::from_chars(plain.data(), plain.data() + plain.size(), value).ec != std::errc()) {
      throw SyntaxError(line, "the number " + plain + " is out of range");
    }
    return {value, length};
  }
  int base = 10;
  std::size_t prefix = 0;
  if (text.size() > 1 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    base = letter == 'b' ? 2 : letter == 'o' ? 8 : letter == 'x' ? 16 : 10;
    prefix = base != 10 && digits_of_base(text, 2, base) > 0 ? 2 : 0;
    base = prefix == 0 ? 1 : base;  // otherwise only zeros belong to the number
  }
  const std::size_t length = text[0] == '0' && prefix == 0 ? 1 + digits_of_base(text, 1, 1) : prefix + digits_of_base(text, prefix, base);
  const std::string plain = without_underscores(text.substr(prefix, length - prefix));
  std::int64_t value = 0;
  if (std::from_chars(plain.data(), plain.data() + plain.size(), value, prefix == 0 ? 10 : base).ec != std::errc()) {
    throw SyntaxError(line, "the integer " + plain + " does not fit into 64 bits, which is not supported");
  }
  return {value, length};
}

}  // namespace unmask::runtime::chat
