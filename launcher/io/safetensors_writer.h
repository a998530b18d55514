// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "runtime/output_file.h"

namespace unmask::launcher {

/// Writes a safetensors file piece by piece; it appears once all of it is on disk.
class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;   ///< plain characters
    std::string dtype;  ///< "F32", "I64"
    std::vector<std::int64_t> shape;
    std::uint64_t bytes = 0;
  };
  /// Throws Error(kIo) here and below.
  SafetensorsWriter(std::filesystem::path file, const std::vector<Tensor>& tensors);

  /// The next bytes of the tensors, in the order they were given.
  void append(std::span<const std::byte> bytes);
  /// All tensors are whole: the file appears.
  void commit();

 private:
  void write(std::span<const std::byte> bytes);

  runtime::OutputFile file_;
  std::uint64_t end_ = 0;  ///< of what was written
  std::uint64_t bytes_left_ = 0;
};

}  // namespace unmask::launcher
