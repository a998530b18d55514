// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/safetensors.h"

namespace unmask::runtime {

/// The safetensors files of a folder, opened and validated, and where each tensor lies.
struct CheckpointFiles {
  struct Place {
    const SafetensorsFile* file = nullptr;
    const StoredTensor* tensor = nullptr;
  };

  std::vector<std::unique_ptr<SafetensorsFile>> files;
  std::unordered_map<std::string_view, Place> tensors;  ///< keys live in `files`

  const Place* find(std::string_view name) const;
};

/// Opens model.safetensors, or the shards that model.safetensors.index.json names. Throws Error(kBadInput): none of them is
/// there, an index that names anything but plain files beside it, a tensor that is not in exactly the shard named.
CheckpointFiles open_checkpoint_files(const std::filesystem::path& folder);

}  // namespace unmask::runtime
