// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/journal_record.h"

#include <charconv>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "launcher/batch/line_hash.h"
#include "runtime/strict_json.h"

namespace unmask::launcher {
namespace {

constexpr std::string_view kMagic = "unmask-batch-journal 1";
constexpr std::uint64_t kMaxRecordBytes = std::uint64_t{1} << 20;
constexpr std::size_t kSumBytes = 10;  ///< " ~" and eight hexadecimal digits

std::string checksum(std::string_view text) { return format(" ~{:08x}", hash_line(text, 1).low & 0xffffffffU); }

/// Takes words and numbers off the front of a record.
class Words {
 public:
  explicit Words(std::string_view text) : rest_(text) {}
  std::string_view word() {
    const std::size_t end = std::min(rest_.find(' '), rest_.size());
    const auto out = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    good_ = good_ && !out.empty();
    return out;
  }
  template <class T>
  T number(int base = 10) {
    const auto text = word();
    T out{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
    good_ = good_ && error == std::errc() && end == text.data() + text.size() && out >= T{};
    return out;
  }
  bool at_good_end() const { return good_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool good_ = true;
};

std::string body_of(const JobFacts& job) {
  auto facts = nlohmann::ordered_json::object();
  for (const auto& [name, value] : job.facts) {
    facts[name] = value;
  }
  return format("{} {}", kMagic, facts.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace));
}
std::string body_of(const RunBegan& run) { return "r " + run.json; }
std::string body_of(const AnsweredLine& a) {
  return format("a {} {} {:x} {} {:x} {} {} {}", a.index, a.number, a.input_hash, a.output_bytes, a.output_hash,
                a.error_kind.empty() ? "-" : a.error_kind, a.text_tokens, a.passes);
}
std::string body_of(const Synced& synced) { return format("s {} {}", synced.num_answers, synced.unix_seconds); }
std::string body_of(const RunEnded& end) { return "e " + end.why; }

std::optional<JournalRecord> decode_facts(std::string_view text) {
  try {
    JobFacts out;
    const auto facts = runtime::parse_json_strictly(text, "journal", kMaxRecordBytes);
    for (const auto& [name, value] : facts.items()) {
      if (!value.is_string()) {
        return std::nullopt;
      }
      out.facts.emplace_back(name, value.get<std::string>());
    }
    return out;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<JournalRecord> decode_answer(std::string_view text) {
  Words words(text);
  AnsweredLine out;
  out.index = words.number<std::int64_t>();
  out.number = words.number<std::int64_t>();
  out.input_hash = words.number<std::uint64_t>(16);
  out.output_bytes = words.number<std::uint64_t>();
  out.output_hash = words.number<std::uint64_t>(16);
  const auto kind = words.word();
  out.error_kind = kind == "-" ? "" : std::string(kind);
  out.text_tokens = words.number<std::int64_t>();
  out.passes = words.number<std::int64_t>();
  return words.at_good_end() ? std::optional<JournalRecord>(out) : std::nullopt;
}

}  // namespace

std::string encode(const JournalRecord& record) {
  std::string line = std::visit([](const auto& r) { return body_of(r); }, record);
  return line + checksum(line) + "\n";
}

bool may_be_torn_facts(std::string_view text) {
  const auto beginning = text.substr(0, kMagic.size());
  return text.empty() || text.front() == '\0' || kMagic.starts_with(beginning);
}

std::optional<JournalRecord> decode_record(std::string_view line) {
  if (line.size() <= kSumBytes || line.size() > kMaxRecordBytes) {
    return std::nullopt;
  }
  const auto body = line.substr(0, line.size() - kSumBytes);
  if (checksum(body) != line.substr(body.size())) {
    return std::nullopt;
  }
  if (body.starts_with(kMagic)) {
    return decode_facts(body.substr(std::min(kMagic.size() + 1, body.size())));
  }
  if (body.size() < 3 || body[1] != ' ') {
    return std::nullopt;
  }
  const auto rest = body.substr(2);
  switch (body.front()) {
    case 'r':
      return RunBegan{std::string(rest)};
    case 'e':
      return RunEnded{std::string(rest)};
    case 'a':
      return decode_answer(rest);
    case 's': {
      Words words(rest);
      const Synced synced{.num_answers = words.number<std::int64_t>(), .unix_seconds = words.number<std::int64_t>()};
      return words.at_good_end() ? std::optional<JournalRecord>(synced) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

}  // namespace unmask::launcher
