// SPDX-License-Identifier: Apache-2.0
#include "runtime/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <span>

#include <nlohmann/json.hpp>

#include "base/checked_math.h"
#include "base/error.h"
#include "runtime/strict_json.h"

namespace unmask::runtime {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian and read as it stands");

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation

constexpr auto kDtypes = std::to_array<Dtype>({
    {"BF16", 16},     {"F16", 16},         {"F32", 32},         {"F64", 64}, {"BOOL", 8}, {"U8", 8},    {"I8", 8},
    {"I16", 16},      {"U16", 16},         {"I32", 32},         {"U32", 32}, {"I64", 64}, {"U64", 64},  {"C64", 64},
    {"F4", 4},        {"F6_E2M3", 6},      {"F6_E3M2", 6},      {"F8_E4M3", 8},           {"F8_E5M2", 8},
    {"F8_E8M0", 8},   {"F8_E4M3FNUZ", 8},  {"F8_E5M2FNUZ", 8},
});

/// One entry of the header, for its messages.
class Entry {
 public:
  Entry(std::string_view file, std::string_view name, const json& value) : file_(file), name_(name), value_(value) {
    require(value.is_object(), ExitCode::kBadInput, "{}: tensor {}: expected an object, found {}", file, printable(name),
            describe(value));
  }

  const json& member(std::string_view key) const {
    const auto found = value_.find(key);
    check(found != value_.end(), key, "is missing");
    return *found;
  }
  Dtype dtype() const {
    const json& text = member("dtype");
    const auto* known = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const Dtype& d) { return text == json(d.name); });
    check(known != kDtypes.end(), "dtype", format("is {}, which is not a type of the format", describe(text)));
    return *known;
  }
  std::vector<std::uint64_t> numbers(std::string_view key) const {
    const json& list = member(key);
    check(list.is_array(), key, format("is {}, expected a list of whole numbers", describe(list)));
    std::vector<std::uint64_t> result;
    for (const json& number : list) {
      check(number.is_number_unsigned(), key, format("holds {}, expected whole numbers from 0 on", describe(number)));
      result.push_back(number.get<std::uint64_t>());
    }
    return result;
  }
  void check(bool ok, std::string_view key, std::string_view complaint) const {
    require(ok, ExitCode::kBadInput, "{}: tensor {}: {} {}", file_, printable(name_), key, complaint);
  }

 private:
  std::string_view file_;
  std::string_view name_;
  const json& value_;
};

/// shape * type in bytes, or nothing on overflow or where it is not a whole number of bytes.
std::optional<std::uint64_t> bytes_of(const Dtype& dtype, const std::vector<std::uint64_t>& shape) {
  std::optional<std::uint64_t> bits = dtype.bits;
  for (const std::uint64_t extent : shape) {
    bits = bits ? checked_mul(*bits, extent) : bits;
  }
  return bits && *bits % 8 == 0 ? std::optional(*bits / 8) : std::nullopt;
}

/// Offsets count from `data_begin` in the header and from the file's start in the result.
StoredTensor parse_tensor(const Entry& entry, std::uint64_t data_begin, std::uint64_t data_bytes) {
  StoredTensor tensor{.dtype = entry.dtype(), .shape = entry.numbers("shape")};
  const auto offsets = entry.numbers("data_offsets");
  entry.check(offsets.size() == 2, "data_offsets", format("has {} numbers, expected 2", offsets.size()));
  entry.check(offsets[0] <= offsets[1] && offsets[1] <= data_bytes, "data_offsets",
              format("is [{}, {}], expected begin <= end <= {}, the bytes behind the header", offsets[0], offsets[1], data_bytes));
  const auto expected = bytes_of(tensor.dtype, tensor.shape);
  entry.check(expected.has_value(), "shape",
              format("is {} of {}, which is not a size that can be", shape_text(tensor.shape), tensor.dtype.name));
  entry.check(*expected == offsets[1] - offsets[0], "data_offsets",
              format("spans {} bytes, expected {} for {} of {}", offsets[1] - offsets[0], *expected, shape_text(tensor.shape),
                     tensor.dtype.name));
  tensor.begin = data_begin + offsets[0];
  tensor.end = data_begin + offsets[1];
  return tensor;
}

void check_metadata(const json& metadata, std::string_view file) {
  require(metadata.is_object(), ExitCode::kBadInput, "{}: __metadata__ is {}, expected an object", file, describe(metadata));
  for (const auto& [key, value] : metadata.items()) {
    require(value.is_string(), ExitCode::kBadInput, "{}: __metadata__.{} is {}, expected a string", file, printable(key),
            describe(value));
  }
}

/// Every byte behind the header belongs to exactly one tensor.
void check_side_by_side(const StoredTensors& tensors, std::uint64_t data_begin, std::uint64_t file_bytes, std::string_view file) {
  std::vector<const StoredTensors::value_type*> by_place;
  for (const auto& tensor : tensors) {
    by_place.push_back(&tensor);
  }
  std::sort(by_place.begin(), by_place.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  std::uint64_t end = data_begin;
  std::string_view previous = "the header";
  for (const auto* tensor : by_place) {
    const std::uint64_t begin = tensor->second.begin;
    require(begin == end, ExitCode::kBadInput, "{}: tensor {} begins at data offset {}, expected {}: it {} {}", file,
            printable(tensor->first), begin - data_begin, end - data_begin, begin < end ? "overlaps" : "leaves a hole after",
            printable(previous));
    end = tensor->second.end;
    previous = tensor->first;
  }
  require(end == file_bytes, ExitCode::kBadInput, "{}: the tensors end at byte {}, but the file has {} bytes", file, end,
          file_bytes);
}

}  // namespace

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  constexpr std::size_t kMaxPrinted = 8;
  return shape.size() <= kMaxPrinted ? format("[{}]", fmt::join(shape, ", ")) : format("[{} dimensions]", shape.size());
}

std::uint64_t safetensors_header_bytes(std::uint64_t first_word, std::uint64_t file_bytes, std::string_view file) {
  require(first_word <= kMaxHeaderBytes, ExitCode::kBadInput,
          "{}: the header's length is {}, at most {} is accepted: this is not a safetensors file, or it is damaged", file,
          first_word, kMaxHeaderBytes);
  require(kSafetensorsHeaderBegin + first_word <= file_bytes, ExitCode::kBadInput,
          "{}: the header ends at byte {}, but the file has {} bytes: it was cut off", file, kSafetensorsHeaderBegin + first_word,
          file_bytes);
  return first_word;
}

StoredTensors parse_safetensors_header(std::string_view header, std::uint64_t file_bytes, std::string_view file) {
  const std::uint64_t data_begin = kSafetensorsHeaderBegin + header.size();
  UNMASK_CHECK(data_begin <= file_bytes, "{} and {}", data_begin, file_bytes);
  require(header.starts_with('{'), ExitCode::kBadInput, "{}: the header does not start with '{{': found '{}'", file,
          printable(header.substr(0, 1)));
  const json root = parse_json_strictly(header, format("{} (header)", file), kMaxHeaderBytes);
  StoredTensors tensors;
  for (const auto& [name, value] : root.items()) {
    if (name == "__metadata__") {
      check_metadata(value, file);
    } else {
      tensors.emplace(name, parse_tensor(Entry(file, name, value), data_begin, file_bytes - data_begin));
    }
  }
  check_side_by_side(tensors, data_begin, file_bytes, file);
  return tensors;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file(path) {
  const std::string name = path.string();
  require(file.num_bytes() >= kSafetensorsHeaderBegin, ExitCode::kBadInput,
          "{}: the file has {} bytes, a safetensors file has at least {}", name, file.num_bytes(), kSafetensorsHeaderBegin);
  std::uint64_t first_word = 0;
  file.read(0, std::as_writable_bytes(std::span(&first_word, 1)));
  header.resize(safetensors_header_bytes(first_word, file.num_bytes(), name));
  file.read(kSafetensorsHeaderBegin, std::as_writable_bytes(std::span(header)));
  tensors = parse_safetensors_header(header, file.num_bytes(), name);
}

}  // namespace unmask::runtime
