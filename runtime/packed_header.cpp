// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/checked_math.h"
#include "base/error.h"
#include "runtime/packed_file.h"
#include "runtime/strict_json.h"

namespace unmask::runtime {
namespace {

using nlohmann::json;

constexpr auto kForms = std::to_array<std::string_view>({"file", "f32", "rows", "panels", "int8", "int4"});
constexpr auto kDtypes = std::to_array<std::string_view>({"bf16", "int8", "int4"});
constexpr std::size_t kDigits = 16;  // of a checksum: always all of them, so that a header's length is known before they are

/// One object of the header, for its messages.
class Fields {
 public:
  Fields(std::string_view file, std::string_view name, const json& value) : file_(file), name_(name), value_(value) {
    check(value.is_object(), "", format("expected an object, found {}", describe(value)));
  }
  const json& member(std::string_view key) const {
    const auto found = value_.find(key);
    check(found != value_.end(), key, "is missing");
    return *found;
  }
  std::string choice(std::string_view key, std::span<const std::string_view> choices) const {
    const json& value = member(key);
    const bool known = value.is_string() && std::ranges::find(choices, value.get_ref<const std::string&>()) != choices.end();
    check(known, key, format("is {}, expected one of {}", describe(value), fmt::join(choices, ", ")));
    return value.get<std::string>();
  }
  std::uint64_t number(std::string_view key) const { return number_of(key, member(key)); }
  std::vector<std::uint64_t> numbers(std::string_view key) const {
    std::vector<std::uint64_t> result;
    for (const json& one : list(key)) {
      result.push_back(number_of(key, one));
    }
    return result;
  }
  std::vector<std::uint64_t> checksums(std::string_view key) const {
    std::vector<std::uint64_t> result;
    for (const json& one : list(key)) {
      const std::string text = one.is_string() ? one.get<std::string>() : "";
      std::uint64_t sum = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), sum, 16);
      check(text.size() == kDigits && error == std::errc() && end == text.data() + text.size(), key,
            format("holds {}, expected {} hexadecimal digits", describe(one), kDigits));
      result.push_back(sum);
    }
    return result;
  }
  void check(bool ok, std::string_view key, std::string_view complaint) const {
    require(ok, ExitCode::kBadInput, "{}: header: {}{}{} {}", file_, printable(name_), key.empty() ? "" : ": ", key, complaint);
  }

 private:
  const json& list(std::string_view key) const {
    const json& value = member(key);
    check(value.is_array(), key, format("is {}, expected a list", describe(value)));
    return value;
  }
  std::uint64_t number_of(std::string_view key, const json& value) const {
    check(value.is_number_unsigned(), key, format("holds {}, expected whole numbers from 0 on", describe(value)));
    return value.get<std::uint64_t>();
  }

  std::string_view file_;
  std::string_view name_;
  const json& value_;
};

PackedEntry parse_entry(const Fields& fields, std::uint64_t data_bytes) {
  PackedEntry entry{.form = fields.choice("form", kForms), .shape = fields.numbers("shape"), .begin = fields.number("begin"),
                    .bytes = fields.number("bytes"), .block_bytes = fields.number("block_bytes"), .checksums = fields.checksums("checksums")};
  fields.check(entry.begin % kPackedPageBytes == 0, "begin", format("is {}, expected a multiple of {}", entry.begin, kPackedPageBytes));
  const auto end = checked_add(entry.begin, entry.bytes);
  fields.check(end && *end <= data_bytes, "bytes",
               format("is {} from {} on, but the file has {} bytes of data: it was cut off; copy it again", entry.bytes, entry.begin, data_bytes));
  fields.check(entry.block_bytes >= 1 && entry.block_bytes <= kMaxPackedBlockBytes, "block_bytes",
               format("is {}, expected 1 to {}", entry.block_bytes, kMaxPackedBlockBytes));
  fields.check(entry.checksums.size() == entry.num_blocks(), "checksums",
               format("has {} of them, expected one for each of {} blocks", entry.checksums.size(), entry.num_blocks()));
  return entry;
}

/// Nothing overlaps, and nothing but the gaps up to whole pages is between entries or behind them.
void check_side_by_side(const PackedHeader& header, std::uint64_t data_bytes, std::string_view file) {
  std::vector<const std::pair<const std::string, PackedEntry>*> by_place;
  for (const auto& entry : header.entries) {
    by_place.push_back(&entry);
  }
  std::ranges::sort(by_place, {}, [](const auto* e) { return std::pair(e->second.begin, e->second.bytes); });
  std::uint64_t end = 0;
  for (const auto* entry : by_place) {
    require(entry->second.begin == whole_pages(end), ExitCode::kBadInput, "{}: header: {} begins at data byte {}, expected {}", file,
            printable(entry->first), entry->second.begin, whole_pages(end));
    end = entry->second.begin + entry->second.bytes;
  }
  require(end == data_bytes, ExitCode::kBadInput, "{}: the data has {} bytes, expected {}: the file was cut off or made longer; copy it again",
          file, data_bytes, end);
}

}  // namespace

PackedHeader parse_packed_header(std::string_view text, std::uint64_t data_bytes, std::string_view file) {
  const json root = parse_json_strictly(text, format("{} (header)", file), kMaxPackedHeaderBytes);
  const Fields fields(file, "the outermost object", root);
  PackedHeader header{.dtype = fields.choice("dtype", kDtypes), .entries = {}};
  const json& entries = fields.member("entries");
  fields.check(entries.is_object(), "entries", format("is {}, expected an object", describe(entries)));
  for (const auto& [name, value] : entries.items()) {
    header.entries.emplace(name, parse_entry(Fields(file, name, value), data_bytes));
  }
  check_side_by_side(header, data_bytes, file);
  return header;
}

std::string packed_header_text(const PackedHeader& header) {
  json entries = json::object();
  for (const auto& [name, entry] : header.entries) {
    json sums = json::array();
    for (const std::uint64_t sum : entry.checksums) {
      sums.push_back(format("{:016x}", sum));
    }
    entries[name] = {{"form", entry.form}, {"shape", entry.shape}, {"begin", entry.begin}, {"bytes", entry.bytes},
                     {"block_bytes", entry.block_bytes}, {"checksums", std::move(sums)}};
  }
  return json{{"dtype", header.dtype}, {"entries", std::move(entries)}}.dump();
}

}  // namespace unmask::runtime
