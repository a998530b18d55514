// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/aligned_buffer.h"
#include "runtime/checkpoint_impl.h"

namespace unmask::runtime {

/// Consecutive elements of a tensor in a safetensors file.
struct StoredPart {
  const SafetensorsFile* file = nullptr;
  std::string tensor;
  FloatType type{};
  std::uint64_t begin = 0;         ///< byte of the file
  std::int64_t first_element = 0;  ///< of the tensor, for messages
  std::int64_t num_elements = 0;

  std::uint64_t num_bytes() const { return static_cast<std::uint64_t>(num_elements) * bytes_of(type); }
  /// Elements [first, first + num) of this part.
  StoredPart piece(std::int64_t first, std::int64_t num) const;
};

/// Visits every tensor that the network needs with where it is stored; fused experts (dInfer's form) expert by expert, as if they
/// were stored one by one.
void visit_parts(const Checkpoint::Impl& checkpoint, const std::function<void(const TensorSlot&, const StoredPart&)>& visit);

/// A thread's own memory for values on their way.
struct Staging {
  AlignedBuffer<std::byte> stored;
  AlignedBuffer<bfloat16> values;
  AlignedBuffer<std::byte> made;  ///< what is about to be written
};

/// Reads a part as bfloat16 or float32. Returns the position of the first value that is not finite.
std::optional<std::int64_t> read_values(const StoredPart& part, Staging& staging, std::span<bfloat16> values);
std::optional<std::int64_t> read_values(const StoredPart& part, Staging& staging, std::span<float> values);

/// Throws Error(kBadInput) that names the value at this position of the part.
[[noreturn]] void refuse_value(const StoredPart& part, std::int64_t position);

}  // namespace unmask::runtime
