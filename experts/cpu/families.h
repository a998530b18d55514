// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "experts/kernels.h"

namespace unmask::experts::cpu {

const KernelFamily& amx_family();
const KernelFamily& avx512bf16_family();
const KernelFamily& avx512_family();
const KernelFamily& avx2_family();
const KernelFamily& portable_family();

}  // namespace unmask::experts::cpu
