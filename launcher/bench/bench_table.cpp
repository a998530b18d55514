// SPDX-License-Identifier: Apache-2.0
#include "launcher/bench/bench_table.h"

#include <array>

namespace unmask::launcher {
namespace {

constexpr auto kBenches = std::to_array<BenchSpec>({
    {"limits", bench_limits},
    {"gemm", bench_gemm},
    {"attention", bench_attention},
    {"head", bench_head},
    {"forward", bench_forward},
    {"generate", bench_generate},
    {"exchange", bench_exchange},
    {"moe", bench_moe},
    {"quality", bench_quality},
});

}  // namespace

std::span<const BenchSpec> bench_table() { return kBenches; }

void show_progress(const Job& job, ThreadTeam& team) {
  team.set_between_tasks([&comm = job.comm] { comm.works(); });
}

}  // namespace unmask::launcher
