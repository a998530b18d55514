// SPDX-License-Identifier: Apache-2.0
#include "tests/runtime/checkpoint_fixture.h"

#include <stdlib.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "runtime/checkpoint.h"

namespace unmask::runtime::testing {
namespace fs = std::filesystem;
using nlohmann::json;

TempFolder::TempFolder() {
  std::string pattern = (fs::temp_directory_path() / "unmask-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    throw std::runtime_error("no temporary folder");
  }
  path_ = pattern;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void write_file(const fs::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

RawTensors read_tensors(const fs::path& path) {
  const std::string bytes = read_file(path);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  RawTensors tensors;
  const json header = json::parse(bytes.substr(8, length));
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      const auto begin = entry["data_offsets"][0].get<std::size_t>();
      const auto end = entry["data_offsets"][1].get<std::size_t>();
      tensors[name] = {entry["dtype"], entry["shape"], bytes.substr(8 + length + begin, end - begin)};
    }
  }
  return tensors;
}

RawTensors read_folder(const fs::path& folder) {
  RawTensors all;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors" && entry.path().filename() != "logits.safetensors") {
      all.merge(read_tensors(entry.path()));
    }
  }
  return all;
}

std::string safetensors_bytes(std::string_view header, std::string_view data) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes.append(header).append(data);
}

void write_tensors(const fs::path& path, const RawTensors& tensors) {
  json header = json::object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  write_file(path, safetensors_bytes(header.dump(), data));
}

namespace {

double value_of_bits(std::uint32_t sign, int exponent, std::uint32_t fraction, int fraction_bits, int bias) {
  const double scale = std::ldexp(1.0, -fraction_bits);
  const double magnitude = exponent == 0 ? std::ldexp(fraction * scale, 1 - bias) : std::ldexp(1 + fraction * scale, exponent - bias);
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace

std::vector<double> values_of(const RawTensor& tensor) {
  const std::size_t bytes = tensor.dtype == "F32" ? 4 : 2;
  std::vector<double> values;
  for (std::size_t at = 0; at < tensor.bytes.size(); at += bytes) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, tensor.bytes.data() + at, bytes);
    if (tensor.dtype == "F32") {
      values.push_back(value_of_bits(bits >> 31, static_cast<int>((bits >> 23) & 0xff), bits & 0x7fffff, 23, 127));
    } else if (tensor.dtype == "BF16") {
      values.push_back(value_of_bits(bits >> 15, static_cast<int>((bits >> 7) & 0xff), bits & 0x7f, 7, 127));
    } else {
      values.push_back(value_of_bits(bits >> 15, static_cast<int>((bits >> 10) & 0x1f), bits & 0x3ff, 10, 15));
    }
  }
  return values;
}

RawTensor stored_as(const RawTensor& tensor, std::string_view dtype) {
  RawTensor result{std::string(dtype), tensor.shape, {}};
  for (const double value : values_of(tensor)) {
    if (dtype == "F32") {
      const auto single = static_cast<float>(value);
      result.bytes.append(reinterpret_cast<const char*>(&single), 4);
    } else {  // F16, truncated: exact enough, as what was written is read back for the comparison
      int exponent = 0;
      const double fraction = std::frexp(std::fabs(value), &exponent);  // in [0.5, 1)
      const bool is_normal = exponent - 1 >= -14;
      const double units = is_normal ? (2 * fraction - 1) * 1024 : std::ldexp(std::fabs(value), 24);
      const auto bits = static_cast<std::uint16_t>((std::signbit(value) ? 0x8000 : 0) |
                                                   (is_normal ? (exponent - 1 + 15) << 10 : 0) | static_cast<int>(units));
      result.bytes.append(reinterpret_cast<const char*>(&bits), 2);
    }
  }
  return result;
}

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::kBadInput) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "was accepted";
  return {};
}

Copy::Copy(std::string_view name) : tensors(read_folder(source_path(name))) {
  fs::copy_file(source_path(name) / "config.json", folder / "config.json");
}

void Copy::write() const { write_tensors(folder / "model.safetensors", tensors); }

std::string Copy::refusal_to_open() const {
  write();
  return refusal([this] { Checkpoint checkpoint(folder.path()); });
}

void Copy::set_config(const std::string& key, const json& value) const {
  json config = json::parse(read_file(folder / "config.json"));
  config[key] = value;
  write_file(folder / "config.json", config.dump());
}

fs::path source_path(std::string_view name) { return fs::path(UNMASK_SOURCE_DIR) / name; }

}  // namespace unmask::runtime::testing
