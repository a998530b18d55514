// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>

namespace unmask::launcher {

/// The files that a batch job was told of.
struct JobPaths {
  std::filesystem::path input;  ///< or "-"
  std::filesystem::path output;
  std::optional<std::filesystem::path> summary;
};

/// Looks at all of them before the first is opened, or cut for --restart. Throws Error(kUsage) where two are one file, as one
/// would overwrite the other; Error(kBadInput) for an input that is not there; Error(kIo) for a place where nothing can be written.
void require_good_paths(const JobPaths& paths);

}  // namespace unmask::launcher
