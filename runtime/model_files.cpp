// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_files.h"

#include "base/error.h"

namespace unmask::runtime {
namespace {

/// Refuses what is no model at all, which is a mistyped name more often than a damaged model.
void require_model(const std::filesystem::path& model) {
  std::error_code error;
  const auto status = std::filesystem::status(model, error);
  const bool is_one = std::filesystem::is_directory(status) || std::filesystem::is_regular_file(status);
  require(is_one, ExitCode::kBadInput,
          "{}: expected a model folder in Hugging Face form (config.json, safetensors, tokenizer.json) or a file written by 'unmask pack', "
          "found {}",
          model.empty() ? "''" : model.string(),
          error == std::errc::permission_denied  ? "one that may not be read"
          : std::filesystem::exists(status) ? "something that is neither"
                                                 : "nothing there");
}

}  // namespace

ModelFiles::ModelFiles(const std::filesystem::path& model) : path_(model) {
  require_model(model);
  if (std::error_code error; !std::filesystem::is_directory(model, error)) {
    packed_ = std::make_shared<const PackedFile>(model);
  }
}

bool ModelFiles::has(std::string_view name) const {
  if (packed_) {
    const PackedEntry* entry = packed_->find(name);
    return entry != nullptr && entry->form == "file";
  }
  std::error_code error;
  return std::filesystem::exists(path_ / name, error);
}

std::string ModelFiles::read(std::string_view name, std::uint64_t max_bytes) const {
  if (!packed_) {
    return read_text_file(path_ / name, max_bytes);
  }
  require(has(name), ExitCode::kBadInput, "{}: {} is not in this packed model: pack the checkpoint again", path_.string(), name);
  const PackedEntry& entry = *packed_->find(name);
  require(entry.bytes <= max_bytes, ExitCode::kBadInput, "{}: it has {} bytes, at most {} are accepted", name_of(name), entry.bytes, max_bytes);
  std::string text(entry.bytes, '\0');
  const auto bytes = std::as_writable_bytes(std::span(text));
  for (std::uint64_t block = 0; block < entry.num_blocks(); ++block) {
    packed_->read_block(name, entry, block, bytes.subspan(block * entry.block_bytes, entry.bytes_of_block(block)));
  }
  return text;
}

std::string ModelFiles::name_of(std::string_view name) const { return packed_ ? format("{}:{}", path_.string(), name) : (path_ / name).string(); }

}  // namespace unmask::runtime
