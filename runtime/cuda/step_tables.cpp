// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/step_tables.h"

#include <algorithm>
#include <bit>

#include "base/checked_math.h"
#include "base/error.h"
#include "runtime/cuda/device_key_values.h"
#include "runtime/kv_cache.h"

namespace unmask::runtime::cuda {
namespace {

using experts::cuda::AttentionTask;
using experts::cuda::DeviceSequence;
using experts::cuda::kAttentionRows;
using experts::cuda::StepSizes;

std::int32_t word(std::int64_t value) { return narrow<std::int32_t>(value); }

/// Tables grow by factors of two, so that there are few kinds of captured steps.
std::int64_t room_for(std::int64_t count) { return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(count, 1)))); }

/// Cuts rows [begin, end) of one sequence into tasks.
std::int64_t cut(std::int64_t sequence, std::int64_t begin, std::int64_t end, AttentionTask* tasks) {
  std::int64_t count = 0;
  for (; begin < end; begin += kAttentionRows) {
    tasks[count++] = {word(sequence), word(begin), word(std::min(end, begin + kAttentionRows))};
  }
  return count;
}

}  // namespace

StepTables::Arrays StepTables::lay_out(const StepRoom& room, std::byte* base, std::int64_t& bytes) {
  std::int64_t used = 0;
  const auto take = [&]<class T>(T*& array, std::int64_t count) {
    constexpr std::int64_t kAlignment = 16;
    array = base == nullptr ? nullptr : reinterpret_cast<T*>(base + used);
    used += experts::whole(count * static_cast<std::int64_t>(sizeof(T)), kAlignment) * kAlignment;
  };
  Arrays a{};
  take(a.sizes, 1);
  for (auto* array : {&a.tokens, &a.sequence_of, &a.positions, &a.places}) {
    take(*array, room.rows);
  }
  take(a.added_weights, room.rows);
  for (auto* array : {&a.wanted, &a.wanted_positions, &a.join_a, &a.join_b}) {
    take(*array, room.wanted);
  }
  take(a.join_weights, room.wanted);
  take(a.sequences, room.sequences);
  take(a.tasks, room.tasks);
  take(a.wanted_tasks, room.wanted_tasks);
  bytes = used;
  return a;
}

StepRoom StepTables::room_of(const comm::StepShape& shape, std::size_t rank) {
  const std::int64_t rows = shape.rows[rank], wanted = shape.wanted[rank];
  return {.rows = rows, .wanted = wanted, .tasks = room_for(shape.sequences + rows / kAttentionRows),
          .wanted_tasks = room_for(shape.sequences + wanted / kAttentionRows), .sequences = shape.sequences};
}

void StepTables::make_room(const comm::StepShape& shape, std::size_t rank) {
  prepare_rope();
  added_.grow(shape.wanted[rank] * config_.hidden);
  std::int64_t bytes = 0;
  lay_out(room_of(shape, rank), nullptr, bytes);
  device_memory_.grow(bytes);
  host_memory_.grow(bytes);
}

void StepTables::begin(const comm::StepShape& shape, std::size_t rank) {
  is_guided_ = shape.is_guided;
  room_ = room_of(shape, rank);
  device_ = lay_out(room_, device_memory_.data(), bytes_);
  host_ = lay_out(room_, host_memory_.data(), bytes_);
  UNMASK_CHECK(bytes_ <= device_memory_.capacity(), "tables of {} bytes, room for {}", bytes_, device_memory_.capacity());
}

/// The same angles as the processor's, sent once for all positions that the model has.
void StepTables::prepare_rope() {
  if (cos_.capacity() > 0) {
    return;
  }
  Rope rope(config_.rope_theta, config_.head_dim);
  rope.prepare(config_.max_positions);
  const std::int64_t values = config_.max_positions * (config_.head_dim / 2);
  cos_.grow(values);
  sin_.grow(values);
  const auto bytes = static_cast<std::size_t>(values) * sizeof(float);
  experts::cuda::check(cudaMemcpy(cos_.data(), rope.cos(), bytes, cudaMemcpyDefault), "cudaMemcpy of angles");
  experts::cuda::check(cudaMemcpy(sin_.data(), rope.sin(), bytes, cudaMemcpyDefault), "cudaMemcpy of angles");
}

void StepTables::send(const StepBatch& batch, void* own, cudaStream_t stream) {
  StepSizes& sizes = *host_.sizes;
  sizes = {.rows = word(batch.num_rows()), .wanted = word(std::ssize(batch.wanted)), .tasks = 0, .wanted_tasks = 0, .joined = 0};
  for (std::size_t r = 0; r < batch.tokens.size(); ++r) {
    const TokenId token = batch.tokens[r];
    UNMASK_CHECK(token >= 0 && token < config_.vocab_size, "token {} of {}", token, config_.vocab_size);
    host_.tokens[r] = token;
    host_.places[r] = -1;
    host_.added_weights[r] = 0;
  }
  fill_sequences(batch, own, sizes);
  fill_wanted(batch, sizes);
  fill_guidance(batch, sizes);
  fill_added(batch, stream);
  num_joined_ = sizes.joined;
  experts::cuda::copy(device_memory_.data(), static_cast<const std::byte*>(host_memory_.data()), bytes_, stream);
}

void StepTables::fill_sequences(const StepBatch& batch, void* own, StepSizes& sizes) {
  const std::int64_t dim = config_.head_dim, value_bytes = precision_ == experts::Precision::kFloat32 ? 4 : 2;
  for (std::size_t s = 0; s < batch.sequences.size(); ++s) {
    const auto& sequence = batch.sequences[s];
    DeviceSequence& out = host_.sequences[s];
    if (sequence.store != nullptr) {
      out = static_cast<DeviceKeyValues&>(sequence.store->memory()).at(sequence.store_begin, sequence.length, config_.num_kv_heads);
    } else {
      auto* const keys = static_cast<std::byte*>(own) + sequence.row_begin * dim * value_bytes;
      out = {.keys = keys, .values = keys + config_.num_kv_heads * room_.rows * dim * value_bytes, .layer_stride = 0,
             .head_stride = room_.rows * dim, .length = word(sequence.num_rows), .first_position = 0, .row_begin = 0, .row_end = 0};
    }
    out.first_position = word(sequence.first_position);
    out.row_begin = word(sequence.row_begin);
    out.row_end = word(sequence.row_end());
    for (std::int64_t row = sequence.row_begin; row < sequence.row_end(); ++row) {
      host_.sequence_of[row] = word(static_cast<std::int64_t>(s));
      host_.positions[row] = word(sequence.position(row));
    }
    sizes.tasks += word(cut(static_cast<std::int64_t>(s), sequence.row_begin, sequence.row_end(), host_.tasks + sizes.tasks));
  }
}

void StepTables::fill_wanted(const StepBatch& batch, StepSizes& sizes) {
  std::int64_t at = 0;
  for (std::size_t s = 0; s < batch.sequences.size(); ++s) {
    const std::int64_t begin = at;
    for (; at < std::ssize(batch.wanted) && batch.wanted[size(at)].value < batch.sequences[s].row_end(); ++at) {
      const std::int64_t row = batch.wanted[size(at)].value;
      host_.wanted[at] = word(row);
      host_.wanted_positions[at] = host_.positions[row];
    }
    sizes.wanted_tasks += word(cut(static_cast<std::int64_t>(s), begin, at, host_.wanted_tasks + sizes.wanted_tasks));
  }
}

void StepTables::fill_guidance(const StepBatch& batch, StepSizes& sizes) {
  std::int64_t row = 0, out = 0;
  const auto add = [&](std::int64_t a, std::int64_t b, float weight) {
    host_.join_a[out] = word(a);
    host_.join_b[out] = word(b);
    host_.join_weights[out++] = weight;
  };
  for (const auto& [first, count, weight] : batch.guided) {
    for (; row < first; ++row) {
      add(row, -1, 0);
    }
    for (std::int64_t i = 0; i < count; ++i) {
      add(first + i, first + count + i, weight);
    }
    row = first + 2 * count;
  }
  for (; row < std::ssize(batch.wanted); ++row) {
    add(row, -1, 0);
  }
  sizes.joined = word(out);
}

void StepTables::fill_added(const StepBatch& batch, cudaStream_t stream) {
  const std::int64_t hidden = config_.hidden;
  added_host_.grow(std::ssize(batch.added) * hidden);
  std::int64_t place = 0;
  for (const auto& [row, weight, values] : batch.added) {
    if (!values.empty()) {  // nothing is expected before the first pass
      std::copy(values.begin(), values.end(), added_host_.data() + place * hidden);
      host_.places[row.at()] = word(place++);
      host_.added_weights[row.at()] = weight;
    }
  }
  if (place > 0) {
    experts::cuda::copy(added_.data(), static_cast<const float*>(added_host_.data()), place * hidden, stream);
  }
}

}  // namespace unmask::runtime::cuda
