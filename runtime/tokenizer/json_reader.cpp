// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/json_reader.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime::tokenizer {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxDepth = 32;

/// Receives the parser's events: the two tables go into vectors, the rest into a small tree. The parser keeps no
/// recursion, so a deep file costs no stack before it is refused.
class Reader final : public nlohmann::json_sax<json> {
 public:
  explicit Reader(std::string_view name) : name_(name) {}
  TokenizerFile take() { return std::move(file_); }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool binary(binary_t&) override { return false; }
  bool number_integer(number_integer_t value) override { return put_number(value, value); }
  bool number_unsigned(number_unsigned_t value) override {
    return put_number(value, static_cast<std::int64_t>(std::min<std::uint64_t>(value, INT64_MAX)));
  }
  bool string(string_t& value) override { return table_ == Table::kMerges ? put_merge_part(value) : put(std::move(value)); }

  bool key(string_t& key) override {
    if (table_ == Table::kVocab) {
      vocab_key_ = std::move(key);
      return true;
    }
    Frame& frame = open_.back();
    refuse_unless(!frame.container->contains(key), "the key {} stands twice in one object", shown(key));
    frame.key = std::move(key);
    return true;
  }

  bool start_object(std::size_t) override {
    if (at_model_member("vocab")) {
      table_ = Table::kVocab;
      return put_in_tree(json::object());
    }
    return open(json::object());
  }
  bool end_object() override {
    if (table_ == Table::kVocab) {
      table_ = Table::kNone;
    } else {
      open_.pop_back();
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (table_ == Table::kMerges && !in_pair_) {
      in_pair_ = true;
      num_parts_ = 0;
      return true;
    }
    if (at_model_member("merges")) {
      table_ = Table::kMerges;
      return put_in_tree(json::array());
    }
    return open(json::array());
  }
  bool end_array() override {
    if (in_pair_) {
      refuse_unless(num_parts_ == 2, "a merge in model.merges has {} parts, expected 2", num_parts_);
      in_pair_ = false;
    } else if (table_ == Table::kMerges) {
      table_ = Table::kNone;
    } else {
      open_.pop_back();
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    fail(ExitCode::kBadInput, "{}: not valid JSON at byte {}: {}. Is the file complete?", name_, position, error.what());
  }

 private:
  enum class Table { kNone, kVocab, kMerges };
  enum class Form { kUnknown, kTexts, kPairs };
  struct Frame {
    json* container;
    std::string key;  ///< of an object: the member being read
  };

  template <class... Args>
  void refuse_unless(bool ok, format_string<Args...> what, Args&&... args) const {
    if (!ok) [[unlikely]] {
      fail(ExitCode::kBadInput, "{}: {}", name_, format(what, std::forward<Args>(args)...));
    }
  }

  bool at_model_member(std::string_view name) const {
    return table_ == Table::kNone && open_.size() == 2 && open_[0].key == "model" && open_[1].container->is_object() &&
           open_[1].key == name;
  }

  bool put_in_tree(json value) {
    place(std::move(value));
    return true;
  }
  json& place(json value) {
    Frame& frame = open_.back();
    if (frame.container->is_array()) {
      return frame.container->emplace_back(std::move(value));
    }
    return (*frame.container)[frame.key] = std::move(value);
  }
  bool put(json value) {
    refuse_unless(table_ != Table::kVocab, "model.vocab gives {} a {}, expected a whole number", shown(vocab_key_), value.type_name());
    refuse_unless(table_ != Table::kMerges, "model.merges holds a {}, expected texts", value.type_name());
    refuse_unless(!open_.empty(), "expected a JSON object, found a {}", value.type_name());
    return put_in_tree(std::move(value));
  }
  template <class Number>
  bool put_number(Number value, std::int64_t as_id) {
    if (table_ == Table::kVocab) {
      file_.vocab.push_back({std::move(vocab_key_), as_id});
      return true;
    }
    return put(value);
  }

  bool open(json container) {
    refuse_unless(table_ == Table::kNone, "model.vocab or model.merges holds a {}", container.type_name());
    refuse_unless(open_.size() < kMaxDepth, "nested more than {} deep", kMaxDepth);
    if (open_.empty()) {
      refuse_unless(container.is_object(), "expected a JSON object, found an array");
      file_.rest = std::move(container);
      open_.push_back({&file_.rest, {}});
    } else {
      json& placed = place(std::move(container));
      open_.push_back({&placed, {}});
    }
    return true;
  }

  bool put_merge_part(std::string& text) {
    const Form form = in_pair_ ? Form::kPairs : Form::kTexts;
    refuse_unless(form_ == Form::kUnknown || form_ == form, "model.merges holds both texts and pairs");
    form_ = form;
    if (in_pair_) {
      refuse_unless(num_parts_ < 2, "a merge in model.merges has more than 2 parts");
      if (num_parts_++ == 0) {
        file_.merges.emplace_back(std::move(text), std::string());
      } else {
        file_.merges.back().second = std::move(text);
      }
      return true;
    }
    if (text.starts_with("#version")) {  // the head line of a merges.txt, kept by old converters
      return true;
    }
    const std::size_t space = text.find(' ');
    refuse_unless(space != std::string::npos && text.find(' ', space + 1) == std::string::npos,
                  "the merge {} in model.merges is not two tokens with one space between", shown(text));
    file_.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    return true;
  }

  std::string_view name_;
  TokenizerFile file_;
  std::vector<Frame> open_;
  Table table_ = Table::kNone;
  Form form_ = Form::kUnknown;
  std::string vocab_key_;
  bool in_pair_ = false;
  int num_parts_ = 0;
};

}  // namespace

TokenizerFile read_tokenizer_json(std::string_view text, std::string_view name) {
  Reader reader(name);
  json::sax_parse(text.begin(), text.end(), &reader);
  return reader.take();
}

}  // namespace unmask::runtime::tokenizer
