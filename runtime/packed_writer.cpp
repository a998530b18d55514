// SPDX-License-Identifier: Apache-2.0
#include "runtime/packed_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <unordered_map>

#include "base/checksum.h"
#include "base/error.h"
#include "experts/quantised.h"
#include "runtime/load_loop.h"
#include "runtime/output_file.h"
#include "runtime/packed_tensors.h"

namespace unmask::runtime {
namespace {

constexpr std::uint64_t kBlockBytes = 1 << 20;  // verified while it is in the second-level cache
constexpr std::uint64_t kMaxSideBytes = std::uint64_t{256} << 20;
constexpr auto kSideFiles = std::to_array<std::string_view>({"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                                                             "chat_template.jinja"});

/// What an entry is made from: a tensor's part, or the text of a file.
struct Source {
  const std::string* name;
  PackedEntry* entry;
  StoredPart part;
  std::string text;
};

struct Block {
  const Source* source;
  std::uint64_t number;
};

/// The file's contents in the making: first all but the checksums, which each block adds when it is written.
class Contents {
 public:
  Contents(const Checkpoint::Impl& checkpoint, experts::WeightType type) {
    header_.dtype = experts::name_of(type);
    for (const std::string_view name : kSideFiles) {
      if (checkpoint.files.has(name)) {
        std::string text = checkpoint.files.read(name, kMaxSideBytes);
        add(std::string(name), {.form = "file", .shape = {}, .bytes = text.size()}, 1).text = std::move(text);
      }
    }
    std::unordered_map<std::string, StoredPart> parts;
    visit_parts(checkpoint, [&](const TensorSlot& slot, const StoredPart& part) { parts.emplace(slot.name, part); });
    visit_tensors(checkpoint.config, [](std::int64_t) { return ExpertForm::kSeparate; }, [&](const TensorSlot& slot) {
      const std::string form = packed_form(slot, type);
      add(slot.name, {.form = form, .shape = slot.shape, .bytes = packed_bytes(form, slot.shape)}, packed_unit_bytes(form, slot.shape)).part =
          parts.at(slot.name);
    });
  }
  Contents(const Contents&) = delete;
  Contents& operator=(const Contents&) = delete;

  const PackedHeader& header() const { return header_; }
  std::uint64_t data_bytes() const { return data_bytes_; }
  std::vector<Block> blocks() const {
    std::vector<Block> result;
    for (const Source& source : sources_) {
      for (std::uint64_t i = 0; i < source.entry->num_blocks(); ++i) {
        result.push_back({&source, i});
      }
    }
    return result;
  }

 private:
  Source& add(std::string name, PackedEntry entry, std::uint64_t unit_bytes) {
    entry.begin = whole_pages(data_bytes_);
    entry.block_bytes = std::max<std::uint64_t>(1, kBlockBytes / unit_bytes) * unit_bytes;
    entry.checksums.resize(entry.num_blocks());
    data_bytes_ = entry.begin + entry.bytes;
    const auto placed = header_.entries.emplace(std::move(name), std::move(entry)).first;
    return sources_.emplace_back(Source{.name = &placed->first, .entry = &placed->second, .part = {}, .text = {}});
  }

  PackedHeader header_;
  std::deque<Source> sources_;
  std::uint64_t data_bytes_ = 0;
};

/// Rows of bfloat16 as one panel of the form.
void put_panel(const PackedEntry& entry, const bfloat16* rows, std::int64_t num_rows, std::byte* panel) {
  const auto cols = narrow<std::int64_t>(entry.shape[1]);
  if (entry.form == "panels") {
    return experts::pack_panel(rows, num_rows, cols, reinterpret_cast<bfloat16*>(panel));
  }
  experts::Matrix one(num_rows, cols, entry.form == "int8" ? experts::WeightType::kInt8 : experts::WeightType::kInt4);
  experts::quantise_panel(rows, 0, one);
  std::memcpy(panel, one.quantised_panel(0), size(one.bytes()));
}

void require_finite(const std::optional<std::int64_t>& wrong, const StoredPart& part) {
  if (wrong) {
    refuse_value(part, *wrong);
  }
}

/// The block's bytes as the file holds them, made in `staging`; `bytes` is a buffer of the block.
void make_block(const Block& block, Staging& staging, std::span<std::byte> bytes) {
  const auto& [name, entry, whole, text] = *block.source;
  const std::uint64_t begin = block.number * entry->block_bytes;
  if (entry->form == "file") {
    std::memcpy(bytes.data(), text.data() + begin, bytes.size());
    return;
  }
  const std::uint64_t unit = packed_unit_bytes(entry->form, entry->shape);
  const auto first = narrow<std::int64_t>(begin / unit), count = narrow<std::int64_t>(bytes.size() / unit);
  if (entry->form == "f32") {
    const StoredPart part = whole.piece(first, count);
    return require_finite(read_values(part, staging, std::span(reinterpret_cast<float*>(bytes.data()), size(count))), part);
  }
  const auto all_rows = narrow<std::int64_t>(entry->shape[0]), cols = narrow<std::int64_t>(entry->shape[1]);
  if (entry->form == "rows") {
    const StoredPart part = whole.piece(first * cols, count * cols);
    return require_finite(read_values(part, staging, std::span(reinterpret_cast<bfloat16*>(bytes.data()), size(count * cols))), part);
  }
  const std::int64_t row = first * experts::kPanelRows;
  const std::int64_t rows = std::min(count * experts::kPanelRows, all_rows - row);
  staging.values.grow(rows * cols);
  const StoredPart part = whole.piece(row * cols, rows * cols);
  require_finite(read_values(part, staging, staging.values.span().first(size(rows * cols))), part);
  for (std::int64_t r = 0; r < rows; r += experts::kPanelRows) {
    put_panel(*entry, staging.values.data() + r * cols, std::min(experts::kPanelRows, rows - r),
              bytes.data() + static_cast<std::uint64_t>(r / experts::kPanelRows) * unit);
  }
}

/// Blocks are written in any order, and read so.
void require_regular(const std::filesystem::path& output) {
  std::error_code ignored;
  const auto status = std::filesystem::status(output, ignored);
  require(!std::filesystem::exists(status) || std::filesystem::is_regular_file(status), ExitCode::kIo,
          "{}: expected the name of a regular file to write, found a folder, pipe or device", output.string());
}

void write_header(const OutputFile& file, const std::string& text) {
  file.write(kPackedHeaderBegin, std::as_bytes(std::span(text)));
  const std::array<std::uint64_t, 3> words = {kPackedVersion, text.size(), checksum(std::as_bytes(std::span(text)))};
  file.write(kPackedMagic.size(), std::as_bytes(std::span(words)));
  file.write(0, std::as_bytes(std::span(kPackedMagic)));
}

}  // namespace

std::uint64_t write_packed(const Checkpoint& checkpoint, ThreadTeam& team, const PackOptions& options) {
  const Checkpoint::Impl& impl = checkpoint.impl();
  require(impl.files.packed() == nullptr, ExitCode::kBadInput, "{}: is packed already: give the checkpoint folder", impl.files.path().string());
  const Contents contents(impl, options.expert_type);
  const PackedStart start{.header_bytes = packed_header_text(contents.header()).size(), .checksum = 0};
  const std::uint64_t data_begin = start.data_begin();
  require_regular(options.output);
  OutputFile file(options.output);
  file.reserve(data_begin + contents.data_bytes());
  const std::vector<Block> blocks = contents.blocks();
  const auto write = [&](std::size_t i, Staging& staging) {
    PackedEntry& entry = *blocks[i].source->entry;
    AlignedBuffer<std::byte>& buffer = staging.made;
    const std::uint64_t num_bytes = entry.bytes_of_block(blocks[i].number);
    buffer.grow(narrow<std::int64_t>(num_bytes));
    const std::span bytes = buffer.span().first(num_bytes);
    make_block(blocks[i], staging, bytes);
    entry.checksums[blocks[i].number] = checksum(bytes);
    file.write(data_begin + entry.begin + blocks[i].number * entry.block_bytes, bytes);
    return num_bytes;
  };
  read_all({.num_pieces = blocks.size(), .num_bytes = contents.data_bytes(), .read = write}, team, options.progress);
  write_header(file, packed_header_text(contents.header()));
  file.sync();
  file.commit();
  return data_begin + contents.data_bytes();
}

}  // namespace unmask::runtime
