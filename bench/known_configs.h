// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "runtime/model_config.h"

namespace unmask::bench {

/// The network of a model known by name (llada-moe-7b), or of any config.json. Throws Error(kBadInput).
runtime::ModelConfig bench_config(const std::string& name_or_file);

}  // namespace unmask::bench
