// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "cluster/expert_work.h"

namespace unmask::comm {

/// Which experts this rank's rows chose, layer after layer (--record-routing). What does not fit any more is left out.
struct RoutingLog {
  static constexpr std::size_t kMaxIds = std::size_t{1} << 25;  // 64 MB a rank
  struct Layer {
    std::int64_t layer = 0;  ///< exchanges so far
    std::int64_t num_rows = 0;
  };
  std::int64_t top_k = 0;
  std::vector<Layer> layers;
  std::vector<std::uint16_t> ids;  ///< [rows of all layers, top_k]

  void add(std::int64_t layer, const cluster::Routing& routing) {
    if (ids.size() + routing.ids.size() <= kMaxIds) {
      top_k = routing.top_k;
      layers.push_back({layer, routing.num_rows});
      for (const ExpertId id : routing.ids) {
        ids.push_back(static_cast<std::uint16_t>(id.value));
      }
    }
  }
};

}  // namespace unmask::comm
