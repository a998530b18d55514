// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "base/types.h"

namespace unmask {

/// Builds a message between ranks of one job: plain values in the byte order of the machine, lists after their length.
class ByteWriter {
 public:
  template <class T>
    requires(std::is_arithmetic_v<T> || std::is_enum_v<T>)
  ByteWriter& put(T value) {
    const auto* at = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), at, at + sizeof value);
    return *this;
  }
  ByteWriter& put(std::string_view text) {
    put(static_cast<std::uint64_t>(text.size()));
    const auto* at = reinterpret_cast<const std::byte*>(text.data());
    bytes_.insert(bytes_.end(), at, at + text.size());
    return *this;
  }
  template <class T>
    requires(std::is_arithmetic_v<T>)
  ByteWriter& put(const std::vector<T>& list) {
    return put(std::string_view(reinterpret_cast<const char*>(list.data()), list.size() * sizeof(T)));
  }

  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

/// Takes such a message apart. Peers are trusted but checked: a message that ends early is an Error(kPeerLost), which names
/// the rank that it is `from` where that is known.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes, std::optional<Rank> from = std::nullopt) : rest_(bytes), from_(from) {}

  template <class T>
    requires(std::is_arithmetic_v<T> || std::is_enum_v<T>)
  T get() {
    T value{};
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string get_text() {
    const auto part = take(get<std::uint64_t>());
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  template <class T>
  std::vector<T> get_list() {
    const auto part = take(get<std::uint64_t>());
    std::vector<T> list(part.size() / sizeof(T));
    if (!list.empty()) {
      std::memcpy(list.data(), part.data(), list.size() * sizeof(T));
    }
    return list;
  }
  bool empty() const { return rest_.empty(); }

 private:
  std::span<const std::byte> take(std::uint64_t count) {
    require(count <= rest_.size(), ExitCode::kPeerLost, "a message {} is broken: expected {} more bytes, found {}",
            from_ ? format("from rank {}", *from_) : "between ranks", count, rest_.size());
    const auto part = rest_.first(count);
    rest_ = rest_.subspan(count);
    return part;
  }

  std::span<const std::byte> rest_;
  std::optional<Rank> from_;
};

}  // namespace unmask
