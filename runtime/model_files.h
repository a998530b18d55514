// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/packed_file.h"

namespace unmask::runtime {

/// The files beside a model's weights: those of a checkpoint folder, or those that a packed model brings along. Cheap to copy.
class ModelFiles {
 public:
  /// Not explicit: where a model is wanted, the path of one will do. Throws Error(kBadInput): neither a folder nor a packed model.
  ModelFiles(const std::filesystem::path& model);  // NOLINT(google-explicit-constructor)

  /// Of the folder or the packed model.
  const std::filesystem::path& path() const { return path_; }
  /// Null: a folder.
  const PackedFile* packed() const { return packed_.get(); }

  bool has(std::string_view name) const;
  /// Throws Error(kBadInput) where it is missing, longer than `max_bytes` or damaged.
  std::string read(std::string_view name, std::uint64_t max_bytes) const;
  /// For messages.
  std::string name_of(std::string_view name) const;

 private:
  std::filesystem::path path_;
  std::shared_ptr<const PackedFile> packed_;
};

}  // namespace unmask::runtime
