// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace unmask::launcher {

/// Results on their way to standard output (or another descriptor, which is not owned), unbuffered.
class Output {
 public:
  explicit Output(int descriptor = 1) : descriptor_(descriptor) {}

  /// Writes all of it. Throws Error(kIo): disk full and the like; with an empty message where the reader went away, which
  /// needs no comment. SIGPIPE must be ignored.
  void write(std::string_view bytes) const;

 private:
  int descriptor_;
};

}  // namespace unmask::launcher
