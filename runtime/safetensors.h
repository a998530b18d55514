// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/input_file.h"

namespace unmask::runtime {

/// An element type of the format, as its header spells it.
struct Dtype {
  std::string_view name;  ///< "BF16"
  std::uint64_t bits = 0;
};

struct StoredTensor {
  Dtype dtype;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0;  ///< first byte, counted from the start of the file
  std::uint64_t end = 0;

  std::uint64_t num_bytes() const { return end - begin; }
};

using StoredTensors = std::map<std::string, StoredTensor, std::less<>>;

/// Where the header text of a file begins.
inline constexpr std::uint64_t kSafetensorsHeaderBegin = 8;

/// The header's length from a file's first 8 bytes. Throws Error(kBadInput) where it cannot be true of `file_bytes`.
std::uint64_t safetensors_header_bytes(std::uint64_t first_word, std::uint64_t file_bytes, std::string_view file);

/// Parses and validates a header: types known, sizes = shape * type, the tensors' bytes side by side from the header's end to
/// the file's. Throws Error(kBadInput) naming file, tensor, expected, found.
StoredTensors parse_safetensors_header(std::string_view header, std::uint64_t file_bytes, std::string_view file);

/// A safetensors file whose header has been validated.
struct SafetensorsFile {
  explicit SafetensorsFile(const std::filesystem::path& path);

  InputFile file;
  std::string header;  ///< its text
  StoredTensors tensors;
};

/// `[64, 2048]`, for messages.
std::string shape_text(const std::vector<std::uint64_t>& shape);

}  // namespace unmask::runtime
