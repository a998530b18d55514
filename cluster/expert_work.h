// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "base/types.h"

namespace unmask::cluster {

/// The router's choice for the rows of one rank. Row r's k experts are ids[r*k .. r*k+k), ascending by id.
struct Routing {
  std::int64_t num_rows = 0;
  std::int64_t top_k = 0;
  std::span<const ExpertId> ids;    ///< [num_rows, top_k]
  std::span<const float> weights;   ///< [num_rows, top_k]
};

/// "Run this row through that local expert, weight the result, and add it to that slot."
struct Assignment {
  std::int32_t row = 0;   ///< of ExpertWork::rows
  LocalExpert expert;
  float weight = 0;
  std::int32_t slot = 0;  ///< of the result [num_slots, hidden]
};

/// What arrived for the experts of one rank in one layer. slot[a.slot] = sum over its assignments, in ascending order of
/// expert, of weight * expert(row), starting from zero; each product and each sum is rounded to float32, so that a sum may
/// be taken here or elsewhere. No slot has two assignments of the same expert.
/// A layer may come in several parts, one after the other, each of later experts than those before. Rows and slots are those of
/// the layer in all of them; a part's new slots start from zero, the others hold what earlier parts added.
struct ExpertWork {
  std::int64_t num_rows = 0;
  std::int64_t num_slots = 0;
  std::span<const float> rows;              ///< [num_rows, hidden], already rounded to the wire type
  std::span<const Assignment> assignments;  ///< ascending by (expert, row)
  std::int64_t new_slots_begin = 0;
  std::int64_t new_slots_end = num_slots;
};

}  // namespace unmask::cluster
