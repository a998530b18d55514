// SPDX-License-Identifier: Apache-2.0
#include "bench/machine_limits.h"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/clock.h"

namespace unmask::bench {
namespace {

struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

constexpr std::int64_t kRounds = 120000;
constexpr double kFlopsPerRound = 4.0 * 2 * 16 * 16 * 32;

/// Four independent sums, two inputs, two weights: as the kernels use the registers.
void multiply_tiles() {
  const TileConfig config;
  asm volatile("ldtilecfg %0" ::"m"(config));
  asm volatile("tilezero %tmm0\n tilezero %tmm1\n tilezero %tmm2\n tilezero %tmm3\n"
               "tilezero %tmm4\n tilezero %tmm5\n tilezero %tmm6\n tilezero %tmm7");
  for (std::int64_t i = 0; i < kRounds; ++i) {
    asm volatile("tdpbf16ps %tmm6, %tmm4, %tmm0\n tdpbf16ps %tmm7, %tmm4, %tmm1\n"
                 "tdpbf16ps %tmm6, %tmm5, %tmm2\n tdpbf16ps %tmm7, %tmm5, %tmm3");
  }
  asm volatile("tilerelease");
}

/// Ten independent sums: as many as hide the latency of a multiply-add.
#define UNMASK_TEN(op, r, inputs)                                                                                    \
  op inputs r "0\n" op inputs r "1\n" op inputs r "2\n" op inputs r "3\n" op inputs r "4\n" op inputs r "5\n" op inputs r \
    "6\n" op inputs r "7\n" op inputs r "8\n" op inputs r "9\n"

constexpr std::int64_t kVectorRounds = 4000000;  // 7 to 20 ms: waking the team costs nothing beside it

/// Rounds of ten instructions; how many products and sums one instruction makes.
struct VectorPeak {
  void (*run)();
  double flops_per_instruction;
};

/// Registers are cleared before: arithmetic with what others left there, numbers close to zero say, may take a hundred times as long.
template <class Clear, class Ten>
void repeat(const Clear& clear, const Ten& ten) {
  clear();
  for (std::int64_t i = 0; i < kVectorRounds; ++i) {
    ten();
  }
}

void clear_all() { asm volatile("vzeroall"); }
void clear_xmm() {
  asm volatile("xorps %xmm14, %xmm14\n xorps %xmm15, %xmm15\n" UNMASK_TEN("andps ", "%xmm", "%xmm14, "));
}

VectorPeak vector_peak(std::string_view family) {
  if (family == "avx512bf16") {
    return {[] { repeat(clear_all, [] { asm volatile(UNMASK_TEN("vdpbf16ps ", "%zmm", "%zmm15, %zmm14, ")); }); }, 64};
  }
  if (family == "avx512") {
    return {[] { repeat(clear_all, [] { asm volatile(UNMASK_TEN("vfmadd231ps ", "%zmm", "%zmm15, %zmm14, ")); }); }, 32};
  }
  if (family == "avx2") {
    return {[] { repeat(clear_all, [] { asm volatile(UNMASK_TEN("vfmadd231ps ", "%ymm", "%ymm15, %ymm14, ")); }); }, 16};
  }
  return {[] { repeat(clear_xmm, [] { asm volatile(UNMASK_TEN("mulps ", "%xmm", "%xmm15, ") UNMASK_TEN("addps ", "%xmm", "%xmm14, ")); }); }, 8};
}
#undef UNMASK_TEN

/// Four streams at a time: one alone does not keep the memory busy.
std::uint64_t read(std::span<const std::byte> bytes) {
  constexpr std::size_t kLine = 64, kAhead = 8192, kStreams = 4;
  const std::size_t length = bytes.size() / kStreams / kLine * kLine;
  std::uint64_t sum[8] = {};
  for (std::size_t at = 0; at < length; at += kLine) {
    for (std::size_t stream = 0; stream < kStreams; ++stream) {
      const std::byte* from = bytes.data() + stream * length + at;
      __builtin_prefetch(from + kAhead);
      std::uint64_t words[8];
      std::memcpy(words, from, kLine);
      for (int i = 0; i < 8; ++i) {
        sum[i] ^= words[i];
      }
    }
  }
  return sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
}

}  // namespace

double peak_flops(ThreadTeam& team, const experts::KernelFamily& family) {
  if (family.name == "amx") {
    const Stopwatch clock;
    team.run([](int) { multiply_tiles(); });
    return team.size() * static_cast<double>(kRounds) * kFlopsPerRound / clock.seconds();
  }
  const VectorPeak peak = vector_peak(family.name);
  const Stopwatch clock;
  team.run([&](int) { peak.run(); });
  return team.size() * static_cast<double>(kVectorRounds) * 10 * peak.flops_per_instruction / clock.seconds();
}

double read_bytes_per_second(ThreadTeam& team, std::span<const std::span<const std::byte>> pieces) {
  std::size_t bytes = 0;
  for (const auto& piece : pieces) {
    bytes += piece.size();
  }
  std::atomic<std::uint64_t> sink = 0;  // what is read must be used
  const Stopwatch clock;
  team.for_each(std::ssize(pieces), [&](std::int64_t i) { sink ^= read(pieces[static_cast<std::size_t>(i)]); });
  return static_cast<double>(bytes) / clock.seconds();
}

}  // namespace unmask::bench
