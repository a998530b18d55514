// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace unmask {
namespace {

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
    case LogLevel::kOff: return spdlog::level::off;
  }
  return spdlog::level::info;
}

}  // namespace

void Logger::put(LogLevel level, std::string_view message) const {
  // The sink locks, so that lines of several threads and of the ranks of one process never mix.
  static spdlog::sinks::stderr_sink_mt sink;
  static std::once_flag once;
  std::call_once(once, [] {
    sink.set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%d %H:%M:%S.%e %l %v"));
  });
  const std::string line = format("[{} {}] {}", options_.rank, options_.host, message);
  sink.log(spdlog::details::log_msg("unmask", spdlog_level(level), line));
  sink.flush();
}

}  // namespace unmask
