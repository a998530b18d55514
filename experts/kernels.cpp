// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels.h"

#include <array>
#include <string>

#include "base/error.h"
#include "experts/cpu/families.h"

namespace unmask::experts {

std::span<const KernelFamily* const> kernel_families() {
  static const std::array<const KernelFamily*, 5> families = {&cpu::amx_family(), &cpu::avx512bf16_family(), &cpu::avx512_family(), &cpu::avx2_family(),
                                                              &cpu::portable_family()};
  return families;
}

const KernelFamily& choose_kernel_family(std::string_view name, Precision precision) {
  std::string known;
  for (const KernelFamily* family : kernel_families()) {
    if (name == "auto" && is_for_auto(*family, precision)) {
      return *family;
    }
    if (name == family->name) {
      require(family->supported(), ExitCode::kUsage,
              "kernel family {} needs {}, which this processor does not have; use --kernel auto", name, family->needs);
      require(family->serves(precision), ExitCode::kUsage,
              "kernel family {} multiplies bf16 values, but f32 is asked for; use --kernel auto, or --dtype bf16", name);
      return *family;
    }
    known += format("{}{}", known.empty() ? "" : ", ", family->name);
  }
  fail(ExitCode::kUsage, "unknown kernel family '{}'; there are: auto, {}", name, known);
}

}  // namespace unmask::experts
