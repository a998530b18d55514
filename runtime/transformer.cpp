// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer.h"

namespace unmask::runtime {

comm::Vote Transformer::forward(const StepBatch& batch, comm::Vote vote) {
  begin(batch, vote);
  run([this] {
    embed();
    for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
      // Past the last layer's keys and values nobody reads a row that is not wanted.
      const Rows asking = layer + 1 < config_.num_layers ? Rows::kAll : Rows::kWanted;
      attend(layer, asking);
      if (!run_experts(layer, asking)) {
        return;
      }
    }
    norm_wanted();
  });
  return votes();
}

}  // namespace unmask::runtime
