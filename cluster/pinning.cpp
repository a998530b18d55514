// SPDX-License-Identifier: Apache-2.0
#include "cluster/pinning.h"

#include <sched.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "base/format.h"
#include "cluster/hwloc_machine.h"

namespace unmask::cluster {
namespace {

using Bits = std::vector<std::uint64_t>;
constexpr std::size_t kMaxUnits = std::size_t{1} << 15;
constexpr std::size_t kBits = 64;

/// Empty where the system does not say.
Bits read_affinity() {
  Bits bits(kMaxUnits / kBits);
  return ::sched_getaffinity(0, bits.size() * sizeof(std::uint64_t), reinterpret_cast<cpu_set_t*>(bits.data())) == 0 ? bits : Bits();
}

bool set_affinity(const Bits& bits) {
  return ::sched_setaffinity(0, bits.size() * sizeof(std::uint64_t), reinterpret_cast<const cpu_set_t*>(bits.data())) == 0;
}

/// As it was when somebody asked first, which is before anything is pinned.
const Bits& inherited() {
  static const Bits bits = read_affinity();
  return bits;
}

/// The first cores of the wish that nobody has taken yet; fewer than wanted where there are not enough.
std::vector<int> take(const PinWish& wish, std::set<int>& taken) {
  std::vector<int> mine;
  for (const int core : wish.cores) {
    if (std::ssize(mine) < wish.num_threads && taken.insert(core).second) {
      mine.push_back(core);
    }
  }
  return mine;
}

}  // namespace

std::vector<int> cores_of_binding() {
  static_cast<void>(inherited());  // nobody is pinned yet
  std::vector<int> units;
  const Machine machine = load_machine();
  const Bitmap allowed = machine ? allowed_units(machine) : Bitmap();
  const Bitmap both(hwloc_bitmap_alloc());
  if (!allowed || !both) {
    return units;
  }
  for (hwloc_obj_t core = nullptr; (core = hwloc_get_next_obj_by_type(machine.get(), HWLOC_OBJ_CORE, core)) != nullptr;) {
    hwloc_bitmap_and(both.get(), core->cpuset, allowed.get());
    if (const int first = hwloc_bitmap_first(both.get()); first >= 0) {
      units.push_back(first);
    }
  }
  return units;
}

PinPlan plan_pins(std::span<const PinWish> ranks, std::int64_t cores_of_host, double quota_cores) {
  std::set<int> all, taken;
  std::int64_t threads = 0;
  for (const PinWish& rank : ranks) {
    all.insert(rank.cores.begin(), rank.cores.end());
    threads += rank.num_threads;
  }
  const std::int64_t num_cores = std::ssize(all);
  if (threads > num_cores) {
    return {.cores = {}, .why_not = format("{} threads share {} cores", threads, num_cores)};
  }
  if (quota_cores > 0 && quota_cores < static_cast<double>(num_cores)) {
    return {.cores = {}, .why_not = format("a quota allows the time of {:.3g} of {} cores", quota_cores, num_cores)};
  }
  if (threads < num_cores && num_cores == cores_of_host) {
    return {.cores = {}, .why_not = format("{} threads leave some of the host's {} cores to others", threads, num_cores)};
  }
  // Those with the fewest cores choose first, so that a rank with many does not take what another cannot do without.
  std::vector<std::size_t> order(ranks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return ranks[i].cores.size(); });
  PinPlan plan{.cores = std::vector<std::vector<int>>(ranks.size()), .why_not = {}};
  for (const std::size_t i : order) {
    plan.cores[i] = take(ranks[i], taken);
    if (std::ssize(plan.cores[i]) < ranks[i].num_threads) {
      return {.cores = {}, .why_not = format("rank {} of the host finds {} free cores for {} threads", i, plan.cores[i].size(), ranks[i].num_threads)};
    }
  }
  return plan;
}

std::string list_cores(std::span<const int> cores) {
  std::string out;
  for (std::size_t i = 0; i < cores.size(); ++i) {
    const std::size_t first = i;
    while (i + 1 < cores.size() && cores[i + 1] == cores[i] + 1) {
      ++i;
    }
    out += format("{}{}{}", out.empty() ? "" : " ", cores[first], i == first ? "" : format("-{}", cores[i]));
  }
  return out;
}

std::vector<int> units_of_thread() {
  const Bits bits = read_affinity();
  std::vector<int> units;
  for (std::size_t i = 0; i < bits.size() * kBits; ++i) {
    if ((bits[i / kBits] >> (i % kBits) & 1U) != 0) {
      units.push_back(static_cast<int>(i));
    }
  }
  return units;
}

Pin::Pin(int core) {
  Bits before = read_affinity();
  Bits one(kMaxUnits / kBits);
  one[static_cast<std::size_t>(core) / kBits] = std::uint64_t{1} << (static_cast<std::size_t>(core) % kBits);
  if (!before.empty() && set_affinity(one)) {
    before_ = std::move(before);
  }
}

Pin::~Pin() {
  if (holds()) {
    set_affinity(before_);
  }
}

Pin::Pin(Pin&& other) noexcept : before_(std::exchange(other.before_, {})) {}

Pin& Pin::operator=(Pin&& other) noexcept {
  std::swap(before_, other.before_);
  return *this;
}

void leave_pins() {
  if (!inherited().empty()) {
    set_affinity(inherited());
  }
}

}  // namespace unmask::cluster
