// SPDX-License-Identifier: Apache-2.0
#include "simulator/hopper.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/bfloat16.h"
#include "base/format.h"
#include "memory.h"
#include "simulator/block.h"

namespace simulator {
namespace {

constexpr unsigned kWhole = ~0U;
constexpr std::uint32_t kPiece = 16, kRow = 128, kPattern = 1024;  // bytes: what is exchanged, where, and after how many it repeats
constexpr std::uint64_t kMagic = 0x54656e736f724d70;
constexpr std::uint32_t kSharedBytes = 227 * 1024;

/// A tensor as copies take it.
struct Tensor {
  const std::byte* data;
  std::int64_t size[5], stride[5];  // strides in bytes
  std::int64_t box[5];
};

struct Copy {
  std::byte* to;
  Tensor tensor;
  std::int64_t at[5];
};

struct BarrierState {
  unsigned expected = 0, pending = 0;
  std::int64_t bytes = 0;
  std::uint64_t phases = 0;  // that have ended
  std::deque<Copy> copies;
};

struct Product {
  float* d[32];
  int n;
  std::uint64_t a, b;
};

struct Warp {
  bool begun = false;
  std::vector<Product> open;
  std::deque<std::vector<Product>> groups;
  std::size_t issued = 0;
};

/// Of the block that runs.
struct State {
  long long launch = -1;
  uint3 block{};
  std::map<const void*, BarrierState> barriers;
  std::map<unsigned, Warp> warps;
  std::map<unsigned, std::vector<Product>> issued;  // by warp group: what its first warp to come issued
  std::vector<std::uint16_t> writer = std::vector<std::uint16_t>(kSharedBytes / kPiece + 1);  // of each piece: thread + 1, 0: nobody or fenced
  std::map<unsigned, std::vector<std::uint32_t>> unfenced;                                     // pieces by thread
};
thread_local State state_of_thread;

State& state() {
  State& s = state_of_thread;
  if (s.launch != launch_of_thread || s.block.x != blockIdx.x || s.block.y != blockIdx.y || s.block.z != blockIdx.z) {
    s = {};
    s.launch = launch_of_thread;
    s.block = blockIdx;
  }
  return s;
}

std::byte* at_address(std::uint32_t address) { return dynamic_shared_memory() + (address - kSharedBase); }
std::uint32_t swizzled(std::uint32_t address) { return address ^ (address / kRow % 8 * kPiece); }

BarrierState& find(const void* barrier) {
  State& s = state();
  const auto found = s.barriers.find(barrier);
  if (found == s.barriers.end()) {
    throw Fault("a barrier that nobody initialised");
  }
  return found->second;
}

void end_phase_if_done(BarrierState& b) {
  if (b.pending == 0 && b.bytes == 0) {
    ++b.phases;
    b.pending = b.expected;
  }
}

/// A box in the order in which it lies: rows of 128 bytes. Returns its bytes.
std::int64_t bring(const Copy& copy) {
  State& s = state();
  const std::uint32_t first = shared_address(copy.to);
  std::uint32_t row = 0;
  std::int64_t i[5] = {};
  for (i[4] = 0; i[4] < copy.tensor.box[4]; ++i[4]) {
    for (i[3] = 0; i[3] < copy.tensor.box[3]; ++i[3]) {
      for (i[2] = 0; i[2] < copy.tensor.box[2]; ++i[2]) {
        for (i[1] = 0; i[1] < copy.tensor.box[1]; ++i[1], ++row) {
          for (i[0] = 0; i[0] < copy.tensor.box[0]; ++i[0]) {
            const std::byte* from = copy.tensor.data;
            bool inside = true;
            for (int d = 0; d < 5; ++d) {
              const std::int64_t at = copy.at[d] + i[d];
              inside = inside && at >= 0 && at < copy.tensor.size[d];
              from += at * copy.tensor.stride[d];
            }
            const std::uint32_t to = swizzled(first + row * kRow + static_cast<std::uint32_t>(i[0]) * 2);
            inside ? std::memcpy(at_address(to), from, 2) : std::memset(at_address(to), 0, 2);
            s.writer[(to - kSharedBase) / kPiece] = 0;
          }
        }
      }
    }
  }
  return std::int64_t{row} * kRow;
}

/// `count` rows of 16 values, as the descriptor says: bits 0-13 address, 32-45 stride of 8 rows (both / 16), 49-51 offset, 62-63 swizzle.
std::vector<float> read_operand(std::uint64_t descriptor, int first, int count) {
  State& s = state();
  const auto start = static_cast<std::uint32_t>(descriptor & 0x3FFFU) * kPiece;
  const auto stride = static_cast<std::uint32_t>(descriptor >> 32U & 0x3FFFU) * kPiece;
  if (descriptor >> 62U != 1 || (descriptor >> 49U & 7U) != 0 || start % kPattern >= kRow) {
    throw Fault(unmask::format("wgmma: a descriptor {:#x}: only the 128-byte swizzle from a multiple of 1024 on is modelled", descriptor));
  }
  std::vector<float> values;
  for (int row = first; row < first + count; ++row) {
    for (std::uint32_t k = 0; k < 16; ++k) {
      const auto r = static_cast<std::uint32_t>(row);
      const std::uint32_t address = swizzled(start + r / 8 * stride + r % 8 * kRow + k * 2);
      if (address < kSharedBase || address >= kSharedBase + kSharedBytes) {
        throw Fault(unmask::format("wgmma: reads shared memory at {:#x}", address));
      }
      if (const std::uint16_t writer = s.writer[(address - kSharedBase) / kPiece]; writer != 0) {
        throw Fault(unmask::format("wgmma: reads what thread {} wrote, who has not fenced it", writer - 1));
      }
      unmask::bfloat16 value;
      std::memcpy(&value, at_address(address), sizeof value);
      values.push_back(unmask::to_float(value));
    }
  }
  return values;
}

void run(const Product& p, unsigned warp) {
  const std::vector<float> a = read_operand(p.a, static_cast<int>(warp % 4) * 16, 16);
  const std::vector<float> b = read_operand(p.b, 0, p.n);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < p.n / 2; ++i) {
      const int row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      float sum = 0;  // of the products first, as for mma
      for (int k = 0; k < 16; ++k) {
        sum += a[static_cast<std::size_t>(row * 16 + k)] * b[static_cast<std::size_t>(column * 16 + k)];
      }
      p.d[lane][i] += sum;
    }
  }
}

unsigned warp_of_thread() { return threadIdx.x / 32; }

struct Nothing {};
void none(Nothing* const*, unsigned) {}
void meet_warp(const char* what, const std::source_location& where) {
  Nothing nothing;
  meet<Nothing, none>(kWhole, nothing, what, where);
}

struct LaneProduct {
  float* d;
  int n;
  std::uint64_t a, b;
};
void issue(LaneProduct* const* lanes, unsigned) {
  State& s = state();
  Warp& warp = s.warps[warp_of_thread()];
  Product product{.d = {}, .n = lanes[0]->n, .a = lanes[0]->a, .b = lanes[0]->b};
  for (int i = 0; i < 32; ++i) {
    product.d[i] = lanes[i]->d;
    if (lanes[i]->a != product.a || lanes[i]->b != product.b || lanes[i]->n != product.n) {
      throw Fault("wgmma: lanes of a warp name different operands");
    }
  }
  if (!warp.begun) {
    throw Fault("wgmma: registers were free to be used since the last wgmma.fence");
  }
  auto& of_group = s.issued[warp_of_thread() / 4];
  if (warp.issued == of_group.size()) {
    of_group.push_back(product);
  } else if (of_group[warp.issued].a != product.a || of_group[warp.issued].b != product.b || of_group[warp.issued].n != product.n) {
    throw Fault("wgmma: warps of a group name different operands");
  }
  ++warp.issued;
  warp.open.push_back(product);
}

void commit(Nothing* const*, unsigned) {
  Warp& warp = state().warps[warp_of_thread()];
  warp.groups.push_back(std::move(warp.open));
  warp.open.clear();
}

/// All but as many of the latest groups as the lanes say.
void finish(std::size_t* const* pending, unsigned) {
  Warp& warp = state().warps[warp_of_thread()];
  for (; warp.groups.size() > *pending[0]; warp.groups.pop_front()) {
    for (const Product& product : warp.groups.front()) {
      run(product, warp_of_thread());
    }
  }
  warp.begun = false;
}

}  // namespace

std::uint32_t shared_address(const void* memory) {
  const auto offset = static_cast<const std::byte*>(memory) - dynamic_shared_memory();
  if (offset < 0 || offset > kSharedBytes) {
    throw Fault("an address that is not of dynamic shared memory");
  }
  return kSharedBase + static_cast<std::uint32_t>(offset);
}

bool end_block() {
  State& s = state_of_thread;
  const bool left = std::any_of(s.barriers.begin(), s.barriers.end(), [](const auto& b) { return !b.second.copies.empty(); }) ||
                    std::any_of(s.warps.begin(), s.warps.end(), [](const auto& w) { return !w.second.open.empty() || !w.second.groups.empty(); });
  s.barriers.clear();
  s.warps.clear();
  return !left;
}

void init_barrier(const void* barrier, unsigned arrivals) {
  if (shared_address(barrier) % 8 != 0) {
    throw Fault("mbarrier: address not aligned to 8 bytes");
  }
  BarrierState& b = state().barriers[barrier];
  b = {};
  b.expected = b.pending = arrivals;
}

void arrive(const void* barrier, unsigned bytes) {
  BarrierState& b = find(barrier);
  if (b.pending == 0) {
    throw Fault("mbarrier: more arrivals than a phase expects");
  }
  b.bytes += bytes;
  --b.pending;
  end_phase_if_done(b);
}

void wait_phase(const void* barrier, unsigned parity, const std::source_location& where) {
  BarrierState& b = find(barrier);
  const auto has_ended = [&] { return b.phases % 2 != parity; };
  if (has_ended()) {
    return;
  }
  wait_until(
      [&] {
        while (!b.copies.empty() && !has_ended()) {
          b.bytes -= bring(b.copies.front());
          b.copies.pop_front();
          end_phase_if_done(b);
        }
        return has_ended();
      },
      "mbarrier.try_wait", where);
}

void copy_box(void* to, const CUtensorMap& map, const std::int32_t* at, const void* barrier) {
  if (map.opaque[15] != kMagic) {
    throw Fault("cp.async.bulk.tensor: not a tensor map");
  }
  if (shared_address(to) % kPattern != 0) {
    throw Fault("cp.async.bulk.tensor: a swizzled box that does not begin where the swizzle does");
  }
  Copy copy{.to = static_cast<std::byte*>(to), .tensor = {}, .at = {}};
  std::memcpy(&copy.tensor.data, &map.opaque[0], sizeof copy.tensor.data);
  for (unsigned i = 0; i < 5; ++i) {
    copy.tensor.size[i] = static_cast<std::int64_t>(map.opaque[1 + i]);
    copy.tensor.stride[i] = i == 0 ? 2 : static_cast<std::int64_t>(map.opaque[5 + i]);
    copy.tensor.box[i] = static_cast<std::int64_t>(map.opaque[10] >> (12 * i) & 0xFFFU);
    copy.at[i] = at[i];
  }
  find(barrier).copies.push_back(copy);
}

void wrote(const void* memory) {
  if (state_of_thread.barriers.empty()) {
    return;  // a kernel without such products
  }
  State& s = state();
  const std::uint32_t piece = (shared_address(memory) - kSharedBase) / kPiece;
  s.writer[piece] = static_cast<std::uint16_t>(threadIdx.x + 1);
  s.unfenced[threadIdx.x].push_back(piece);
}

void fence_async() {
  State& s = state();
  auto& mine = s.unfenced[threadIdx.x];
  for (const std::uint32_t piece : mine) {
    s.writer[piece] = s.writer[piece] == threadIdx.x + 1 ? std::uint16_t{0} : s.writer[piece];
  }
  mine.clear();
}

void begin_products(const std::source_location& where) {
  meet_warp("wgmma.fence", where);
  state().warps[warp_of_thread()].begun = true;
}

void multiply_group(float* d, int n, std::uint64_t a, std::uint64_t b, const std::source_location& where) {
  LaneProduct mine{d, n, a, b};
  meet<LaneProduct, issue>(kWhole, mine, "wgmma.mma_async", where);
}

void commit_products(const std::source_location& where) {
  Nothing nothing;
  meet<Nothing, commit>(kWhole, nothing, "wgmma.commit_group", where);
}

void wait_products(std::size_t pending, const std::source_location& where) {
  meet<std::size_t, finish>(kWhole, pending, "wgmma.wait_group", where);
}

}  // namespace simulator

/// What CUDA's documentation asks of a tensor, and what copies above can do.
CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* sizes,
                                const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* steps, CUtensorMapInterleave interleave,
                                CUtensorMapSwizzle swizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  bool fits = type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 && rank == 5 && interleave == CU_TENSOR_MAP_INTERLEAVE_NONE &&
              swizzle == CU_TENSOR_MAP_SWIZZLE_128B && reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && box[0] * 2 == simulator::kRow;
  *map = {};
  std::memcpy(&map->opaque[0], &data, sizeof data);
  for (unsigned i = 0; i < rank && fits; ++i) {
    fits = sizes[i] > 0 && sizes[i] <= std::uint64_t{1} << 32 && box[i] > 0 && box[i] <= 256 && steps[i] == 1;
    map->opaque[1 + i] = sizes[i];
    map->opaque[10] |= std::uint64_t{box[i]} << (12 * i);
    if (i > 0) {
      const std::uint64_t stride = strides[i - 1], before = i > 1 ? strides[i - 2] : 2 * sizes[0];
      fits = fits && stride % 16 == 0 && stride < std::uint64_t{1} << 40 && stride >= before && stride % before == 0;
      map->opaque[5 + i] = stride;
    }
  }
  map->opaque[15] = simulator::kMagic;
  return fits ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
