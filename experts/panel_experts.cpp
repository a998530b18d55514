// SPDX-License-Identifier: Apache-2.0
#include "experts/panel_experts.h"

#include <algorithm>
#include <cstring>

namespace unmask::experts {
namespace {

constexpr std::int64_t kTasksPerThread = 24;      // of step 1: experts differ in rows
constexpr std::int64_t kSharesPerThread = 8;      // of step 2: all tasks are alike,
constexpr std::int64_t kLongShares = 2;           // but each of them reads all of h: few tasks where that is much
constexpr std::int64_t kManyRows = 32;            // per expert
constexpr std::int64_t kRowsAtOnce = 256;         // gathered rows that stay in the second-level cache

}  // namespace

void PanelExperts::run(const Compute& compute, const ExpertWeights& experts, std::int64_t hidden,
                       const cluster::ExpertWork& work, float* slots) {
  UNMASK_CHECK(compute.kernels->panels != nullptr && compute.precision == Precision::kBfloat16,
               "experts in panels, which kernels {} do not take", compute.kernels->name);
  const PanelKernels& kernels = *compute.kernels->panels;
  list_busy(experts, work);
  list_tasks(compute.team->size());
  mine_.resize(size(compute.team->size()));
  gather_once(compute, work, kernels);
  compute.team->for_each_on(std::ssize(tasks_), [&](std::int64_t task, int member) {
    gate_up(tasks_[size(task)], work, kernels, mine_[size(member)]);
  });
  const std::int64_t num_panels = whole(hidden, kPanelRows);
  const bool is_long = std::ssize(work.assignments) > kManyRows * std::ssize(busy_);
  const std::int64_t each = whole(num_panels, (is_long ? kLongShares : kSharesPerThread) * compute.team->size());
  compute.team->for_each_on(whole(num_panels, each), [&](std::int64_t task, int member) {
    add_down(task * each, std::min(num_panels, (task + 1) * each), kernels, {work.new_slots_begin, work.new_slots_end, slots},
             mine_[size(member)]);
  });
}

void PanelExperts::list_busy(const ExpertWeights& experts, const cluster::ExpertWork& work) {
  busy_.clear();
  std::int64_t h_size = 0;
  const auto h_of = [](const Busy& b) {
    return whole(std::ssize(b.picked), kPanelRows) * b.expert->down.panel_size();
  };
  for (auto rest = work.assignments; !rest.empty();) {
    const LocalExpert expert = rest.front().expert;
    UNMASK_CHECK(expert.at() < experts.size(), "expert {} of {}", expert, experts.size());
    const auto end = std::find_if(rest.begin(), rest.end(), [&](const auto& a) { return a.expert != expert; });
    const auto count = static_cast<std::size_t>(end - rest.begin());
    busy_.push_back({.expert = &experts[expert.at()], .picked = rest.first(count), .h = nullptr, .x = nullptr, .first_tile = 0});
    h_size += h_of(busy_.back());
    rest = rest.subspan(count);
  }
  h_.grow(h_size);
  bfloat16* h = h_.data();
  for (Busy& b : busy_) {
    b.h = h;
    h += h_of(b);
  }
}

/// Where there are few experts for many threads, each expert is many tasks: then its rows are gathered once for all of them.
void PanelExperts::gather_once(const Compute& compute, const cluster::ExpertWork& work, const PanelKernels& kernels) {
  if (std::ssize(tasks_) <= 2 * std::ssize(busy_)) {
    return;
  }
  const std::int64_t tiles_of_16 = busy_.front().expert->gate.panel_size();
  std::int64_t num_tiles = 0;
  std::vector<std::pair<const Busy*, std::int64_t>> pieces;  // of kRowsAtOnce rows
  for (Busy& b : busy_) {
    b.first_tile = num_tiles;
    num_tiles += whole(std::ssize(b.picked), kPanelRows);
    for (std::int64_t begin = 0; begin < std::ssize(b.picked); begin += kRowsAtOnce) {
      pieces.emplace_back(&b, begin);
    }
  }
  gathered_.grow(num_tiles * tiles_of_16);
  for (Busy& b : busy_) {
    b.x = gathered_.data() + b.first_tile * tiles_of_16;
  }
  compute.team->for_each(std::ssize(pieces), [&](std::int64_t i) {
    const auto& [b, begin] = pieces[size(i)];
    const std::int64_t hidden = b->expert->gate.cols();
    kernels.tile_rows({.x = work.rows.data(), .x_stride = hidden, .picked = b->picked.data() + begin,
                       .rows = std::min(kRowsAtOnce, std::ssize(b->picked) - begin), .k = hidden,
                       .tiles = b->x + begin / kPanelRows * tiles_of_16});
  });
}

/// Experts with many rows come first, so that no thread begins a long task last.
void PanelExperts::list_tasks(int num_threads) {
  tasks_.clear();
  if (busy_.empty()) {
    return;
  }
  const std::int64_t num_panels = busy_.front().expert->gate.num_panels();
  // A team of one needs no balance, and each range of an expert would gather its rows again.
  const std::int64_t ranges = num_threads == 1 ? 1 : whole(kTasksPerThread * num_threads, std::ssize(busy_));
  const std::int64_t each = whole(num_panels, 2 * std::min(ranges, num_panels)) * 2;  // even: a tile of h has one writer
  for (const Busy& b : busy_) {
    for (std::int64_t begin = 0; begin < num_panels; begin += each) {
      tasks_.push_back({&b, begin, std::min(num_panels, begin + each)});
    }
  }
  std::stable_sort(tasks_.begin(), tasks_.end(),
                   [](const Task& a, const Task& b) { return a.busy->picked.size() > b.busy->picked.size(); });
}

void PanelExperts::gate_up(const Task& task, const cluster::ExpertWork& work, const PanelKernels& kernels,
                           Workspace& mine) {
  const auto& [expert, picked, h, gathered, first_tile] = *task.busy;
  const std::int64_t hidden = expert->gate.cols();
  AlignedBuffer<bfloat16>& x = mine.x;
  if (gathered == nullptr) {
    x.grow(std::min(kRowsAtOnce, whole(std::ssize(picked), kPanelRows) * kPanelRows) / kPanelRows * expert->gate.panel_size());
  }
  const bool is_quantised = expert->gate.layout() == Layout::kQuantised;
  for (std::int64_t begin = 0; begin < std::ssize(picked); begin += kRowsAtOnce) {
    const std::int64_t rows = std::min(kRowsAtOnce, std::ssize(picked) - begin);
    if (gathered == nullptr) {
      kernels.tile_rows({.x = work.rows.data(), .x_stride = hidden, .picked = picked.data() + begin, .rows = rows, .k = hidden,
                         .tiles = x.data()});
    }
    const bfloat16* tiles = gathered != nullptr ? gathered + begin / kPanelRows * expert->gate.panel_size() : x.data();
    PanelGateUpProblem problem{.walk = {.x = tiles, .rows = rows, .k = hidden, .num_panels = task.panel_end - task.panel_begin},
                               .gate = nullptr, .up = nullptr, .next_gate = nullptr, .next_up = nullptr,
                               .h = h + begin / kPanelRows * expert->down.panel_size(), .width = expert->gate.rows(),
                               .first_panel = task.panel_begin};
    if (is_quantised) {
      kernels.gate_up_quantised({.product = problem, .type = expert->gate.type(),
                                 .gate = expert->gate.quantised_panel(task.panel_begin),
                                 .up = expert->up.quantised_panel(task.panel_begin), .workspace = mine.expanded_of(expert->gate)});
      continue;
    }
    problem.gate = expert->gate.panel(task.panel_begin);
    problem.up = expert->up.panel(task.panel_begin);
    kernels.gate_up(problem);
  }
}

void PanelExperts::add_down(std::int64_t panel_begin, std::int64_t panel_end, const PanelKernels& kernels, Slots to,
                            Workspace& mine) const {
  if (busy_.empty()) {
    return;
  }
  const std::int64_t hidden = busy_.front().expert->down.rows();
  const std::int64_t begin = panel_begin * kPanelRows;
  const std::int64_t num_outputs = std::min(hidden, panel_end * kPanelRows) - begin;
  for (std::int64_t slot = to.begin; slot < to.end; ++slot) {
    std::memset(to.values + slot * hidden + begin, 0, size(num_outputs) * sizeof(float));
  }
  for (std::size_t i = 0; i < busy_.size(); ++i) {
    const auto& [expert, picked, h, gathered, first_tile] = busy_[i];
    const Matrix* next = i + 1 < busy_.size() ? &busy_[i + 1].expert->down : nullptr;
    PanelAddProblem problem{.walk = {.x = h, .rows = std::ssize(picked), .k = expert->down.cols(), .num_panels = panel_end - panel_begin},
                            .w = nullptr, .next_w = nullptr, .num_outputs = num_outputs, .picked = picked.data(),
                            .slots = to.values + begin, .slots_stride = hidden};
    if (expert->down.layout() == Layout::kQuantised) {
      kernels.add_down_quantised({.product = problem, .type = expert->down.type(), .w = expert->down.quantised_panel(panel_begin),
                                  .next_w = next == nullptr ? nullptr : next->quantised_panel(panel_begin),
                                  .workspace = mine.expanded_of(expert->down)});
      continue;
    }
    problem.w = expert->down.panel(panel_begin);
    problem.next_w = next == nullptr ? nullptr : next->panel(panel_begin);
    kernels.add_down(problem);
  }
}

bfloat16* PanelExperts::Workspace::expanded_of(const Matrix& m) {
  constexpr std::int64_t kPanels = 4;
  expanded.grow(kPanels * m.panel_size());
  return expanded.data();
}

}  // namespace unmask::experts
