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

/// Writes a safetensors file piece by piece: under another name in the same folder, which takes the file's place once all is
/// on disk, so that nobody ever sees half a file. A device or a pipe is written to as it stands.
class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;   ///< plain characters
    std::string dtype;  ///< "F32", "I64"
    std::vector<std::int64_t> shape;
    std::uint64_t bytes = 0;
  };
  /// Throws Error(kIo) here and below.
  static void require_place(const std::filesystem::path& file);  ///< what can be known before there is anything to write
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
