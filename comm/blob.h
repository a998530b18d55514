// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "comm/communicator.h"

namespace unmask::comm {

/// Numbers and texts as bytes, for the small messages of start-up; all ranks have the same byte order.
class BlobWriter {
 public:
  void number(std::int64_t value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    blob_.insert(blob_.end(), bytes.begin(), bytes.end());
  }
  void text(std::string_view value) {
    number(static_cast<std::int64_t>(value.size()));
    const auto bytes = std::as_bytes(std::span(value));
    blob_.insert(blob_.end(), bytes.begin(), bytes.end());
  }
  const Bytes& blob() const { return blob_; }

 private:
  Bytes blob_;
};

/// The way back; Error(kPeerLost) naming `from` where the blob ends too early.
class BlobReader {
 public:
  BlobReader(std::span<const std::byte> blob, Rank from) : rest_(blob), from_(from) {}
  std::int64_t number() {
    std::int64_t value = 0;
    std::memcpy(&value, take(sizeof(value)).data(), sizeof(value));
    return value;
  }
  std::string text() {
    const auto bytes = take(static_cast<std::uint64_t>(number()));
    std::string value(bytes.size(), '\0');
    std::memcpy(value.data(), bytes.data(), bytes.size());
    return value;
  }

 private:
  std::span<const std::byte> take(std::uint64_t bytes) {
    require(bytes <= rest_.size(), ExitCode::kPeerLost, "message from rank {}: expected {} more bytes, found {}", from_, bytes,
            rest_.size());
    const auto head = rest_.first(bytes);
    rest_ = rest_.subspan(bytes);
    return head;
  }

  std::span<const std::byte> rest_;
  Rank from_;
};

}  // namespace unmask::comm
