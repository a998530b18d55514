// SPDX-License-Identifier: Apache-2.0
#pragma once

// The one place where fmt is named: g++ 12 has no std::format. Everything else says unmask::format.
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace unmask {

using fmt::format;
using fmt::format_string;

}  // namespace unmask
