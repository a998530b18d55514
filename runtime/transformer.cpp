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
      for (std::size_t part = 0; part < num_parts(); ++part) {  // while the other's rows and sums travel
        combine(part);
        attend(layer, part, asking);
        dispatch(layer, part, asking);
      }
      for (std::size_t part = 0; part < num_parts(); ++part) {
        run_experts(layer, part, asking);
      }
      if (layer == 0 && !has(votes(), comm::Vote::kWork)) {
        combine(0);
        return;
      }
      if (layer == 0) {
        divide();
      }
    }
    for (std::size_t part = 0; part < num_parts(); ++part) {
      combine(part);
    }
    norm_wanted();
  });
  return votes();
}

}  // namespace unmask::runtime
