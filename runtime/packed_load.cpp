// SPDX-License-Identifier: Apache-2.0
// Loading from a packed model: a block is read to where kernels take it, or through a buffer of a block where they take it in
// another form.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "experts/quantised.h"
#include "runtime/load_loop.h"
#include "runtime/packed_tensors.h"
#include "runtime/weight_targets.h"

namespace unmask::runtime {
namespace {

/// One block of an entry, and the tensor that it is a part of.
struct Block {
  const std::string* name;
  const PackedEntry* entry;
  std::uint64_t number;
  experts::Matrix* matrix;  ///< or
  float* norm;
  NeededBy needed_by;

  std::uint64_t begin() const { return number * entry->block_bytes; }
  std::uint64_t bytes() const { return entry->bytes_of_block(number); }
};

bool all_finite(std::span<const std::byte> bytes, const Block& block) {
  if (block.entry->form == "f32") {
    return std::all_of(block.norm, block.norm + block.entry->shape[0], [](float x) { return std::isfinite(x); });
  }
  return !find_not_finite({reinterpret_cast<const bfloat16*>(bytes.data()), bytes.size() / sizeof(bfloat16)});
}

/// A checksum says that the bytes are those that were written, not that they are weights.
void require_weights(const PackedFile& file, const Block& block, std::span<const std::byte> bytes) {
  const bool is_quantised = block.entry->form == "int8" || block.entry->form == "int4";
  const bool ok = is_quantised ? experts::scales_are_valid(packed_type(file.header()), bytes.data(), std::ssize(bytes)) : all_finite(bytes, block);
  require(ok, ExitCode::kBadInput, "{}: tensor {}, block {}: expected finite numbers{}: this file was not written by 'unmask pack'",
          file.file().path().string(), *block.name, block.number, is_quantised ? " and scales as quantising makes them" : "");
}

/// Panels of bfloat16 that this rank's kernels take in rows or quantised.
void convert_panels(const Block& block, std::span<const std::byte> bytes, Staging& staging) {
  experts::Matrix& m = *block.matrix;
  const auto* panels = reinterpret_cast<const bfloat16*>(bytes.data());
  const auto first = static_cast<std::int64_t>(block.begin() / sizeof(bfloat16)) / m.panel_size();
  const auto count = static_cast<std::int64_t>(bytes.size() / sizeof(bfloat16)) / m.panel_size();
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t row = (first + i) * experts::kPanelRows;
    const std::int64_t rows = std::min(experts::kPanelRows, m.rows() - row);
    if (m.layout() == experts::Layout::kRows) {
      experts::unpack_panel(panels + i * m.panel_size(), rows, m.cols(), m.row(row));
      continue;
    }
    staging.values.grow(experts::kPanelRows * m.cols());
    experts::unpack_panel(panels + i * m.panel_size(), rows, m.cols(), staging.values.data());
    experts::quantise_panel(staging.values.data(), first + i, m);
  }
}

/// Where the block's bytes may be read to as they are; null where they must be converted.
std::byte* place_of(const Block& block) {
  if (block.norm != nullptr) {
    return reinterpret_cast<std::byte*>(block.norm) + block.begin();
  }
  experts::Matrix& m = *block.matrix;
  const std::string& form = block.entry->form;
  const bool as_it_is = (form == "rows" && m.layout() == experts::Layout::kRows) || (form == "panels" && m.layout() == experts::Layout::kPanels) ||
                        form == experts::name_of(m.type());
  return as_it_is ? reinterpret_cast<std::byte*>(m.data()) + block.begin() : nullptr;
}

/// The rows of the matrix that the block holds.
std::span<std::byte> memory_of(const Block& block) {
  const auto unit = packed_unit_bytes(block.entry->form, block.entry->shape);
  const std::int64_t rows_of_unit = block.entry->form == "rows" ? 1 : experts::kPanelRows;
  const auto first = static_cast<std::int64_t>(block.begin() / unit) * rows_of_unit;
  const auto count = static_cast<std::int64_t>(block.bytes() / unit) * rows_of_unit;
  return block.matrix->memory_of_rows(first, std::min(count, block.matrix->rows() - first));
}

void read_block(const PackedFile& file, const Block& block, Staging& staging, const WeightShare& share) {
  if (share.memory != nullptr && block.needed_by == NeededBy::kAllRanks) {
    share.memory->populate(memory_of(block));
  }
  std::byte* place = place_of(block);
  if (place == nullptr) {
    staging.stored.grow(narrow<std::int64_t>(block.bytes()));
  }
  const std::span bytes(place != nullptr ? place : staging.stored.data(), block.bytes());
  file.read_block(*block.name, *block.entry, block.number, bytes);
  require_weights(file, block, bytes);
  if (place == nullptr) {
    convert_panels(block, bytes, staging);
  }
}

}  // namespace

LoadResult load_from_packed(const Checkpoint::Impl& checkpoint, const cluster::Placement& placement, Rank rank, ThreadTeam& team,
                            const LoadOptions& options) {
  const PackedFile& file = *checkpoint.files.packed();
  LoadResult result{.weights = empty_weights(checkpoint.config, placement, rank, options.share)};
  SharedPlaces places(options.share);
  std::vector<Block> blocks;
  checkpoint.visit([&](const TensorSlot& slot) {
    const WeightTarget target = target_of(slot, placement, rank, options.forms(), result.weights);
    if (target.norm != nullptr) {
      target.norm->resize(slot.shape[0]);
    } else if (target.matrix != nullptr) {
      *target.matrix = allocate(target, slot, places);
    } else {
      return;
    }
    const auto& [name, entry] = *file.header().entries.find(slot.name);
    for (std::uint64_t i = 0; i < entry.num_blocks(); ++i) {
      blocks.push_back({&name, &entry, i, target.matrix, target.norm == nullptr ? nullptr : target.norm->data(), target.needed_by});
    }
  });
  std::ranges::sort(blocks, {}, [](const Block& b) { return b.entry->begin + b.begin(); });
  SharedParts parts(options.share);
  std::erase_if(blocks, [&](const Block& b) { return b.needed_by == NeededBy::kAllRanks && !parts.is_mine(b.bytes()); });
  for (const Block& block : blocks) {
    result.bytes_read += block.bytes();
  }
  file.file().expect_sequential_reads();
  const auto read = [&](std::size_t i, Staging& staging) {
    read_block(file, blocks[i], staging, options.share);
    return blocks[i].bytes();
  };
  read_all({.num_pieces = blocks.size(), .num_bytes = result.bytes_read, .read = read}, team, options.progress);
  return result;
}

}  // namespace unmask::runtime
