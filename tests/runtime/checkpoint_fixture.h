// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace unmask::runtime::testing {

/// A folder of its own that goes with the test.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

void write_file(const std::filesystem::path& path, std::string_view bytes);
std::string read_file(const std::filesystem::path& path);

/// A tensor as a file holds it.
struct RawTensor {
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::string bytes;
};
using RawTensors = std::map<std::string, RawTensor>;

/// The slowest obvious reader and writer of safetensors, sharing no code with the ones under test.
RawTensors read_tensors(const std::filesystem::path& path);
RawTensors read_folder(const std::filesystem::path& folder);
void write_tensors(const std::filesystem::path& path, const RawTensors& tensors);

/// 8 bytes of length, the header, the data.
std::string safetensors_bytes(std::string_view header, std::string_view data);

/// All values of a tensor as double.
std::vector<double> values_of(const RawTensor& tensor);
/// The same numbers stored as another type (F16 and F32 from BF16).
RawTensor stored_as(const RawTensor& tensor, std::string_view dtype);

/// The message of the Error(kBadInput) that `action` throws; the test fails where it does not.
std::string refusal(const std::function<void()>& action);

/// UNMASK_SOURCE_DIR / name.
std::filesystem::path source_path(std::string_view name);

/// A copy of a checkpoint folder in one file, whose tensors and config a test can change.
class Copy {
 public:
  explicit Copy(std::string_view name);
  void write() const;
  /// The message with which the written copy is refused.
  std::string refusal_to_open() const;
  void set_config(const std::string& key, const nlohmann::json& value) const;

  TempFolder folder;
  RawTensors tensors;
};

}  // namespace unmask::runtime::testing
