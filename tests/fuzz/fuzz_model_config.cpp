// SPDX-License-Identifier: Apache-2.0
// config.json: either refused, or its numbers are such that later arithmetic cannot overflow.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "runtime/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace unmask;
  try {
    const auto c = runtime::parse_model_config({reinterpret_cast<const char*>(data), size}, "F");
    const bool is_sane = c.num_parameters() > 0 && c.num_parameters() <= std::int64_t{1} << 48 && c.head_dim % 2 == 0 &&
                         c.num_heads % c.num_kv_heads == 0 && c.experts_per_token <= c.num_experts && c.rope_theta > 0 &&
                         (!c.mask_token || (*c.mask_token >= 0 && *c.mask_token < c.vocab_size));
    if (!is_sane) {
      std::abort();
    }
  } catch (const Error& e) {
    if (e.code() != ExitCode::kBadInput) {
      std::abort();
    }
  }
  return 0;
}
