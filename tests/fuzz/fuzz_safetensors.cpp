// SPDX-License-Identifier: Apache-2.0
// A safetensors file's first bytes: either refused, or every tensor lies inside the file, whose size the header determines.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "runtime/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace unmask;
  // The first two bytes stand for the data behind the header: real files would make the corpus heavy.
  if (size < 10) {
    return 0;
  }
  std::uint16_t data_bytes = 0;
  std::uint64_t first_word = 0;
  std::memcpy(&data_bytes, data, 2);
  std::memcpy(&first_word, data + 2, 8);
  const std::string_view header(reinterpret_cast<const char*>(data) + 10, size - 10);
  const std::uint64_t file_bytes = 8 + header.size() + data_bytes;
  try {
    static_cast<void>(runtime::safetensors_header_bytes(first_word, file_bytes, "F"));
  } catch (const Error& e) {
    if (e.code() != ExitCode::kBadInput) {
      std::abort();
    }
  }
  try {
    std::uint64_t sum = 8 + header.size();
    for (const auto& [name, tensor] : runtime::parse_safetensors_header(header, file_bytes, "F")) {
      if (tensor.begin > tensor.end || tensor.end > file_bytes) {
        std::abort();
      }
      sum += tensor.num_bytes();
    }
    if (sum != file_bytes) {
      std::abort();
    }
  } catch (const Error& e) {
    if (e.code() != ExitCode::kBadInput) {
      std::abort();
    }
  }
  return 0;
}
