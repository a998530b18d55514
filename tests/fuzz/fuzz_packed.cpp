// SPDX-License-Identifier: Apache-2.0
// The beginning of a packed model: either refused, or all entries lie side by side inside the file, and the header is what its
// own text says.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "runtime/packed_file.h"

namespace {

using namespace unmask;

void require_true(bool ok) {
  if (!ok) {
    std::abort();
  }
}

void check_header(std::string_view text, std::uint64_t data_bytes) {
  const runtime::PackedHeader header = runtime::parse_packed_header(text, data_bytes, "F");
  for (const auto& [name, entry] : header.entries) {
    require_true(entry.bytes <= data_bytes && entry.begin <= data_bytes - entry.bytes && entry.checksums.size() == entry.num_blocks());
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < entry.num_blocks(); ++i) {
      require_true(entry.bytes_of_block(i) >= 1 && entry.bytes_of_block(i) <= runtime::kMaxPackedBlockBytes);
      sum += entry.bytes_of_block(i);
    }
    require_true(sum == entry.bytes);
  }
  const std::string again = runtime::packed_header_text(header);
  require_true(runtime::packed_header_text(runtime::parse_packed_header(again, data_bytes, "F")) == again);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The first two bytes stand for the data behind the header: real files would make the corpus heavy.
  if (size < 2 + runtime::kPackedHeaderBegin) {
    return 0;
  }
  std::uint16_t data_bytes = 0;
  std::memcpy(&data_bytes, data, sizeof data_bytes);
  const auto file = std::as_bytes(std::span(data + 2, size - 2));
  try {
    const auto start = runtime::PackedStart::parse(file, file.size() + data_bytes, "F");
    require_true(start.header_bytes <= file.size() + data_bytes);
  } catch (const Error& e) {
    require_true(e.code() == ExitCode::kBadInput);
  }
  const auto header = file.subspan(runtime::kPackedHeaderBegin);  // whatever the first bytes say of it
  try {
    check_header({reinterpret_cast<const char*>(header.data()), header.size()}, data_bytes);
  } catch (const Error& e) {
    require_true(e.code() == ExitCode::kBadInput);
  }
  return 0;
}
