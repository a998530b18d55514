// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace unmask::runtime::chat {

/// What a template may use. Templates come with a checkpoint and messages with a request: neither is trusted.
struct Limits {
  std::size_t template_bytes = std::size_t{1} << 20;
  std::size_t text_bytes = std::size_t{64} << 20;  ///< one string, the output included
  std::uint64_t work = 20'000'000;                 ///< syntax nodes visited, list items made, and 64-byte units of text handled
};

/// Nesting of syntax, of values and of JSON: everything that recurses is bounded by it.
inline constexpr int kMaxDepth = 100;
inline constexpr int kMaxJsonDepth = 64;
inline constexpr int kMaxTreeDepth = 400;  ///< of an expression: chains such as a + b + c + ... are as deep as they are long

/// What goes wrong inside a template; chat_template.cpp adds name and line and turns it into an Error.
class TemplateError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Counts the work of one rendering and stops it at the limit.
class Meter {
 public:
  explicit Meter(const Limits& limits) : limits_(limits) {}

  void work(std::uint64_t units) {
    if (units > limits_.work - used_) {
      throw TemplateError("the template does too much work for these messages: a limit of " + std::to_string(limits_.work) +
                          " steps is set");
    }
    used_ += units;
  }
  void step() { work(1); }
  void bytes(std::size_t count) { work(count / 64); }
  /// Before a string of that size is made.
  void check_size(std::size_t text_bytes) const {
    if (text_bytes > limits_.text_bytes) {
      throw TemplateError("a text becomes longer than the limit of " + std::to_string(limits_.text_bytes) + " bytes");
    }
  }

 private:
  Limits limits_;
  std::uint64_t used_ = 0;
};

}  // namespace unmask::runtime::chat
