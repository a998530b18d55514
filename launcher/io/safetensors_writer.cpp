// SPDX-License-Identifier: Apache-2.0
#include "launcher/io/safetensors_writer.h"

#include <utility>

#include "base/error.h"

namespace unmask::launcher {
namespace {

std::string header_of(const std::vector<SafetensorsWriter::Tensor>& tensors) {
  std::string header = "{";
  std::uint64_t begin = 0;
  for (const auto& tensor : tensors) {
    header += format("{}\"{}\":{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", header.size() == 1 ? "" : ",",
                     tensor.name, tensor.dtype, fmt::join(tensor.shape, ","), begin, begin + tensor.bytes);
    begin += tensor.bytes;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // tensors begin at a multiple of 8 bytes
  return header;
}

}  // namespace

void SafetensorsWriter::require_place(const std::filesystem::path& file) { runtime::OutputFile::require_place(file); }

SafetensorsWriter::SafetensorsWriter(std::filesystem::path file, const std::vector<Tensor>& tensors) : file_(std::move(file)) {
  const std::string header = header_of(tensors);
  const std::uint64_t length = header.size();
  write(std::as_bytes(std::span(&length, 1)));
  write(std::as_bytes(std::span(header)));
  for (const Tensor& tensor : tensors) {
    bytes_left_ += tensor.bytes;
  }
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  file_.write(end_, bytes);
  end_ += bytes.size();
}

void SafetensorsWriter::append(std::span<const std::byte> bytes) {
  UNMASK_CHECK(bytes.size() <= bytes_left_, "{} bytes more than announced", bytes.size() - bytes_left_);
  bytes_left_ -= bytes.size();
  write(bytes);
}

void SafetensorsWriter::commit() {
  UNMASK_CHECK(bytes_left_ == 0, "{} bytes are missing", bytes_left_);
  file_.sync();
  file_.commit();
}

}  // namespace unmask::launcher
