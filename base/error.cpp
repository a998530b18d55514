// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

namespace unmask {

void fail_with(ExitCode code, std::string message) { throw Error(code, message); }

void check_failed(const char* expression, const char* file, int line, std::string values) {
  std::string_view path = file;
  if (auto slash = path.rfind('/'); slash != std::string_view::npos) {
    path.remove_prefix(slash + 1);
  }
  throw std::logic_error(
      format("internal error at {}:{}: {} does not hold ({}); please report this", path, line, expression, values));
}

}  // namespace unmask
