// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels.h"

#include <array>
#include <string>

#include "base/error.h"
#include "experts/cpu/families.h"

namespace unmask::experts {

std::span<const KernelFamily* const> kernel_families() {
  static const std::array<const KernelFamily*, 3> families = {&cpu::avx512_family(), &cpu::avx2_family(),
                                                              &cpu::portable_family()};
  return families;
}

const KernelFamily& choose_kernel_family(std::string_view name) {
  std::string known;
  for (const KernelFamily* family : kernel_families()) {
    if (name == "auto" && family->supported()) {
      return *family;
    }
    if (name == family->name) {
      require(family->supported(), ExitCode::kUsage,
              "kernel family {} needs {}, which this processor does not have; use --kernel auto", name, family->needs);
      return *family;
    }
    known += format("{}{}", known.empty() ? "" : ", ", family->name);
  }
  fail(ExitCode::kUsage, "unknown kernel family '{}'; there are: auto, {}", name, known);
}

}  // namespace unmask::experts
