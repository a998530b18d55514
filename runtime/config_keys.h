// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace unmask::runtime {

/// A key of config.json that would change the forward pass in a way that is not built: only a neutral value is accepted.
struct NeutralKey {
  std::string_view key;
  bool (*is_neutral)(const nlohmann::json&);
  std::string_view expected;  ///< the neutral values in words
};
std::span<const NeutralKey> neutral_keys();

/// A key that cannot change the forward pass (training, sampling defaults, bookkeeping).
bool is_ignored_key(std::string_view key);

}  // namespace unmask::runtime
