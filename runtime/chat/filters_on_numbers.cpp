// SPDX-License-Identifier: Apache-2.0
// Filters that make numbers.
#include <charconv>
#include <cmath>

#include "runtime/chat/filters.h"
#include "runtime/chat/operations.h"
#include "runtime/chat/text_functions.h"

namespace unmask::runtime::chat {
namespace {

/// A number's text as int() and float() read it: white space around it, single underscores between digits.
std::optional<std::string> plain_number(const Text& text, Meter& meter) {
  const std::string_view bytes = strip(text, Side::kBoth, std::nullopt, meter).bytes();
  std::string plain;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto is_digit = [&](std::size_t at) { return at < bytes.size() && bytes[at] >= '0' && bytes[at] <= '9'; };
    if (static_cast<unsigned char>(bytes[i]) >= 0x80) {
      throw TemplateError("reading a number from characters beyond ASCII is not supported");
    }
    if (bytes[i] == '_' && (i == 0 || !is_digit(i - 1) || !is_digit(i + 1))) {
      return std::nullopt;
    }
    if (bytes[i] != '_') {
      plain.push_back(bytes[i]);
    }
  }
  return plain;
}

std::optional<double> parse_float(const Text& text, Meter& meter) {
  const auto plain = plain_number(text, meter);
  if (!plain || plain->empty()) {
    return std::nullopt;
  }
  const char* begin = plain->data() + (plain->front() == '+' ? 1 : 0);
  const char* end = plain->data() + plain->size();
  const bool signs = begin < end && begin != plain->data() && *begin == '-';  // "+-1"
  if (signs || plain->find('(') != std::string::npos) {                       // "nan(...)" is C's, not Python's
    return std::nullopt;
  }
  double value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error == std::errc::result_out_of_range) {
    throw TemplateError("a float out of range is not supported");
  }
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

std::optional<std::int64_t> parse_int(const Text& text, Meter& meter) {
  const auto plain = plain_number(text, meter);
  if (!plain || plain->empty()) {
    return std::nullopt;
  }
  const std::size_t sign = plain->front() == '+' ? 1 : 0;
  const char* end = plain->data() + plain->size();
  std::int64_t value = 0;
  const auto [stop, error] = std::from_chars(plain->data() + sign, end, value);
  if (stop != end || (sign == 1 && plain->size() > 1 && (*plain)[1] == '-')) {
    return std::nullopt;
  }
  if (error == std::errc::result_out_of_range) {
    throw TemplateError("an integer beyond 64 bits is not supported");
  }
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<std::int64_t> truncated(double number) {
  if (!std::isfinite(number)) {
    return std::nullopt;
  }
  constexpr double kInt64End = 9223372036854775808.0;
  if (number < -kInt64End || number >= kInt64End) {
    throw TemplateError("an integer beyond 64 bits is not supported");
  }
  return static_cast<std::int64_t>(number);
}

}  // namespace

Value int_filter(const Call& call) {
  const auto bound = call.bind({"default", "base"});
  if (bound[1] && (!bound[1]->is(Kind::kInt) || *bound[1]->integer() != 10)) {
    throw TemplateError("int with a base other than 10 is not supported");
  }
  const Value fallback = bound[0].value_or(std::int64_t{0});
  std::optional<std::int64_t> result = call.input.integer();
  if (const double* number = call.input.get_if<double>()) {
    if (std::isinf(*number)) {
      throw TemplateError("int of an infinite number");
    }
    result = truncated(*number);
  } else if (call.input.is(Kind::kString)) {
    result = parse_int(call.input.text(), call.meter);
    const auto parsed = result ? std::nullopt : parse_float(call.input.text(), call.meter);
    result = parsed ? truncated(*parsed) : result;
  }
  require_defined(call.input);
  return result ? Value(*result) : fallback;
}

Value float_filter(const Call& call) {
  const Value fallback = call.bind({"default"})[0].value_or(0.0);
  require_defined(call.input);
  if (call.input.is(Kind::kFloat)) {
    return call.input;
  }
  if (const auto integer = call.input.integer()) {
    return static_cast<double>(*integer);
  }
  const auto number = call.input.is(Kind::kString) ? parse_float(call.input.text(), call.meter) : std::nullopt;
  return number ? Value(*number) : fallback;
}

Value abs_filter(const Call& call) {
  call.bind({});
  if (const double* number = call.input.get_if<double>()) {
    return std::fabs(*number);
  }
  const Value number = plus(call.input);
  return *number.integer() < 0 ? negate(number) : number;
}

}  // namespace unmask::runtime::chat
