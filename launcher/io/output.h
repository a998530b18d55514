// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>
#include <utility>

namespace unmask::launcher {

/// Results on their way to standard output (or another descriptor, which is not owned), unbuffered.
class Output {
 public:
  explicit Output(int descriptor = 1) : descriptor_(descriptor) {}
  /// `meanwhile` is called now and then while a reader lets us wait.
  explicit Output(std::function<void()> meanwhile) : meanwhile_(std::move(meanwhile)) {}

  /// Writes all of it. Throws Error(kIo): disk full and the like; with an empty message where the reader went away, which
  /// needs no comment. SIGPIPE must be ignored.
  void write(std::string_view bytes) const;

 private:
  void write_all(std::string_view bytes) const;
  bool takes_at_once(std::size_t bytes) const;

  int descriptor_ = 1;
  std::function<void()> meanwhile_;
};

}  // namespace unmask::launcher
