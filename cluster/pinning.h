// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace unmask::cluster {

/// What a rank may use, and wants to.
struct PinWish {
  std::vector<int> cores;        ///< of its binding, each by the first hardware thread that it may use, in the machine's order
  std::int64_t num_threads = 1;
  bool operator==(const PinWish&) const = default;
};

/// Of the calling thread: the cores of the binding that the process inherited. Empty where the machine does not say.
std::vector<int> cores_of_binding();

/// A core for each thread of each rank of a host, or why threads are left where the system puts them.
struct PinPlan {
  std::vector<std::vector<int>> cores;  ///< by rank, then by thread; empty: nobody is pinned
  std::string why_not;
};

/// No two threads get the same core: ranks that share a set of cores split it in their order. Nobody is pinned where there are
/// more threads than cores, where a quota gives less time than the cores have (other containers may pin to the same ones), and
/// where threads leave cores idle of which no launcher said that they are ours: another job may be there.
PinPlan plan_pins(std::span<const PinWish> ranks, std::int64_t cores_of_host, double quota_cores);

/// "0-3 8": cores as people write them.
std::string list_cores(std::span<const int> cores);

/// Where the calling thread may run now: hardware threads, in their order. Empty where the system does not say.
std::vector<int> units_of_thread();

/// The calling thread runs on this core alone, until it is destroyed by the same thread: then wherever it ran before.
class Pin {
 public:
  Pin() = default;
  explicit Pin(int core);
  ~Pin();
  Pin(Pin&& other) noexcept;
  Pin& operator=(Pin&& other) noexcept;

  bool holds() const { return !before_.empty(); }
  void keep() { before_.clear(); }  ///< for the life of the thread

 private:
  std::vector<std::uint64_t> before_;  ///< bits of hardware threads; empty: nothing was changed
};

/// Lets the calling thread run wherever the process might at its start: threads begin where the one that made them was pinned.
void leave_pins();

}  // namespace unmask::cluster
