// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/format.h"

namespace unmask {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

/// A log that one rank writes to standard error, one line a message: `time level [rank host] message`.
/// A rank that is not to be heard (see --log-ranks) gets a Logger whose level is kOff. Thread-safe.
class Logger {
 public:
  struct Options {
    LogLevel level = LogLevel::kInfo;
    int rank = 0;
    std::string host;
  };
  explicit Logger(Options options) : options_(std::move(options)) {}

  template <class... Args>
  void debug(format_string<Args...> text, Args&&... args) const {
    write(LogLevel::kDebug, text, std::forward<Args>(args)...);
  }
  template <class... Args>
  void info(format_string<Args...> text, Args&&... args) const {
    write(LogLevel::kInfo, text, std::forward<Args>(args)...);
  }
  template <class... Args>
  void warning(format_string<Args...> text, Args&&... args) const {
    write(LogLevel::kWarning, text, std::forward<Args>(args)...);
  }
  bool wants(LogLevel level) const { return level >= options_.level; }
  const Options& options() const { return options_; }

 private:
  template <class... Args>
  void write(LogLevel level, format_string<Args...> text, Args&&... args) const {
    if (wants(level)) {
      put(level, format(text, std::forward<Args>(args)...));
    }
  }
  void put(LogLevel level, std::string_view message) const;

  Options options_;
};

}  // namespace unmask
