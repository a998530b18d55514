// SPDX-License-Identifier: Apache-2.0
// Stands in for CUDA's header of this name: kernels and host code as plain C++ on the CPU. See tests/cuda/simulator/README.md.
#pragma once

#include "simulator/device.h"
#include "simulator/host.h"
#include "simulator/types.h"
