// SPDX-License-Identifier: Apache-2.0
#include "runtime/strict_json.h"

#include <algorithm>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace unmask::runtime {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxDepth = 64;
constexpr std::uint64_t kMaxValues = 10'000'000;  // some 1 GB when all are small; the fullest legal file has fewer
constexpr std::size_t kMaxPrinted = 80;

/// Reads characters and remembers how far reading has come, which the parser tells only in its own errors.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    const auto before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

/// Builds the value from the parser's events; the names are nlohmann's.
class Builder : public nlohmann::json_sax<json> {
 public:
  Builder(std::string_view text, std::string_view name) : text_(text), name_(name), read_(text.data()) {}

  json build() {
    const CountingIterator begin(text_.data(), &read_);
    const CountingIterator end(text_.data() + text_.size(), &read_);
    json::sax_parse(begin, end, this);
    return std::move(root_);
  }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(std::int64_t value) override { return put(value); }
  bool number_unsigned(std::uint64_t value) override { return put(value); }
  bool number_float(double value, const std::string&) override { return put(value); }
  bool string(std::string& value) override { return put(std::move(value)); }
  bool binary(json::binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& key) override {
    const auto [place, is_new] = stack_.back()->get_ref<json::object_t&>().emplace(key, nullptr);
    if (!is_new) {
      fail(ExitCode::kBadInput, "{}: the key \"{}\" is given twice in one object (byte {})", name_, printable(key), byte());
    }
    slot_ = &place->second;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: what went wrong": ours names the byte.
    std::string_view reason = error.what();
    for (const std::string_view prefix : {"] ", ": "}) {  // a number out of range comes without a place
      const auto at = reason.find(prefix);
      reason.remove_prefix(at == reason.npos ? 0 : at + prefix.size());
    }
    fail(ExitCode::kBadInput, "{}: not valid JSON at byte {}: {}", name_, position, printable(reason));
  }

 private:
  std::uint64_t byte() const { return static_cast<std::uint64_t>(read_ - text_.data()); }

  template <class Value>
  json* place(Value&& value) {
    if (++num_values_ > kMaxValues) {
      fail(ExitCode::kBadInput, "{}: more than {} values (byte {})", name_, kMaxValues, byte());
    }
    if (stack_.empty()) {
      root_ = std::forward<Value>(value);
      return &root_;
    }
    if (stack_.back()->is_array()) {
      return &stack_.back()->get_ref<json::array_t&>().emplace_back(std::forward<Value>(value));
    }
    *slot_ = std::forward<Value>(value);
    return slot_;
  }
  template <class Value>
  bool put(Value&& value) {
    place(std::forward<Value>(value));
    return true;
  }
  bool open(json value) {
    if (stack_.size() == kMaxDepth) {
      fail(ExitCode::kBadInput, "{}: nested deeper than {} (byte {})", name_, kMaxDepth, byte());
    }
    stack_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }

  std::string_view text_;
  std::string_view name_;
  const char* read_;
  json root_;
  std::vector<json*> stack_;  ///< open objects and arrays; an array grows only while nothing inside it is open
  json* slot_ = nullptr;      ///< where the last key's value belongs
  std::uint64_t num_values_ = 0;
};

}  // namespace

json parse_json_strictly(std::string_view text, std::string_view name, std::uint64_t max_bytes) {
  require(text.size() <= max_bytes, ExitCode::kBadInput, "{}: {} bytes of JSON, at most {} are accepted", name, text.size(),
          max_bytes);
  // The parser takes a NUL for the end of its input and would not look at what follows.
  const auto nul = text.find('\0');
  require(nul == text.npos, ExitCode::kBadInput, "{}: not valid JSON at byte {}: a NUL byte", name, nul);
  return Builder(text, name).build();
}

std::string describe(const json& value) {
  switch (value.type()) {
    case json::value_t::array: return format("an array of {}", value.size());
    case json::value_t::object: return "an object";
    case json::value_t::string: return format("\"{}\"", printable(value.get_ref<const std::string&>()));
    case json::value_t::null:
    case json::value_t::boolean:
    case json::value_t::number_integer:
    case json::value_t::number_unsigned:
    case json::value_t::number_float:
    case json::value_t::binary:
    case json::value_t::discarded: break;
  }
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string printable(std::string_view text) {
  std::string result(text.substr(0, kMaxPrinted));
  for (char& c : result) {
    c = c < 0x20 || c == 0x7f ? '?' : c;  // bytes from 0x80 on are negative
  }
  return text.size() > kMaxPrinted ? result + "..." : result;
}

}  // namespace unmask::runtime
