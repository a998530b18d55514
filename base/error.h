// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "base/format.h"

namespace unmask {

/// What the program's exit status tells a job script (DESIGN.md section 7).
enum class ExitCode : int {
  kDone = 0,
  kUsage = 2,       ///< a wrong command line, option or configuration
  kBadInput = 3,    ///< a model, request or environment that cannot be used
  kPeerLost = 4,    ///< another rank is gone or does not answer
  kSomeFailed = 5,  ///< finished, but some requests failed
  kIo = 6,          ///< input/output failed, disk full
  kStopped = 75,    ///< stopped early on request: run it again to go on
};

/// A failure that somebody outside the program can do something about. The message says what was expected, what was
/// found, and what to do; it is printed once, by main or as a request's error.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

/// Throws Error.
[[noreturn]] void fail_with(ExitCode code, std::string message);

template <class... Args>
[[noreturn]] void fail(ExitCode code, format_string<Args...> text, Args&&... args) {
  fail_with(code, format(text, std::forward<Args>(args)...));
}

/// Throws Error unless `ok`: for bad input or environment, in every build.
template <class... Args>
void require(bool ok, ExitCode code, format_string<Args...> text, Args&&... args) {
  if (!ok) [[unlikely]] {
    fail_with(code, format(text, std::forward<Args>(args)...));
  }
}

/// A bug of ours: prints expression, place and values and aborts through std::logic_error.
[[noreturn]] void check_failed(const char* expression, const char* file, int line, std::string values);

}  // namespace unmask

/// Our own invariant, checked in every build: check(a < b, "a = {}, b = {}", a, b).
#define UNMASK_CHECK(condition, ...)                                                                       \
  do {                                                                                                     \
    if (!(condition)) [[unlikely]] {                                                                       \
      ::unmask::check_failed(#condition, __FILE__, __LINE__, ::unmask::format(__VA_ARGS__));               \
    }                                                                                                      \
  } while (false)

/// The same for hot loops, compiled only with UNMASK_DEBUG_CHECKS.
#ifdef UNMASK_DEBUG_CHECKS
#define UNMASK_DCHECK(condition, ...) UNMASK_CHECK(condition, __VA_ARGS__)
#else
#define UNMASK_DCHECK(condition, ...) \
  do {                                \
  } while (false)
#endif
