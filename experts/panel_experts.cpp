// SPDX-License-Identifier: Apache-2.0
#include "experts/panel_experts.h"

#include <algorithm>
#include <cstring>

namespace unmask::experts {
namespace {

// Tasks of step 1: experts differ in rows, but each task gathers its rows again.
constexpr std::int64_t kTasksPerThread = 24;
constexpr std::int64_t kLongTasksPerThread = 8;
// Tasks of step 2 are all alike, but each of them reads all of h.
constexpr std::int64_t kSharesPerThread = 8;
constexpr std::int64_t kLongSharesPerThread = 4;
constexpr std::int64_t kManyRows = 32;        // per expert: tasks are long
constexpr std::int64_t kRowsPerBatch = 1024;  // of all experts: 2 MB of h at a width of 1024
constexpr std::int64_t kRowsAtOnce = 256;     // gathered rows that stay in the second-level cache

}  // namespace

void PanelExperts::run(const Compute& compute, const ExpertWeights& experts, std::int64_t hidden,
                       const cluster::ExpertWork& work, float* slots) {
  UNMASK_CHECK(compute.kernels->panels != nullptr && compute.kernels->serves(compute.precision),
               "experts in panels, which kernels {} do not take", compute.kernels->name);
  mine_.resize(size(compute.team->size()));
  list_busy(experts, work);
  find_beginnings(hidden, work, slots);
  for (std::span<Busy> rest = busy_; !rest.empty();) {
    run_batch(compute, take_batch(rest, *compute.kernels->panels), hidden, work, slots);
  }
}

void PanelExperts::run_batch(const Compute& compute, std::span<Busy> batch, std::int64_t hidden, const cluster::ExpertWork& work,
                             float* slots) {
  const PanelKernels& kernels = *compute.kernels->panels;
  list_tasks(batch, compute.team->size());
  gather_once(compute, batch, work, kernels);
  compute.team->for_each_on(std::ssize(tasks_), [&](std::int64_t task, int member) {
    gate_up(tasks_[size(task)], work, compute, mine_[size(member)]);
  });
  const std::int64_t num_panels = whole(hidden, kPanelRows);
  const std::int64_t shares = (has_many_rows(batch) ? kLongSharesPerThread : kSharesPerThread) * compute.team->size();
  const std::int64_t each = whole(num_panels, shares);
  compute.team->for_each_on(whole(num_panels, each), [&](std::int64_t task, int member) {
    add_down(batch, {task * each, std::min(num_panels, (task + 1) * each)}, kernels, slots, mine_[size(member)]);
  });
}

void PanelExperts::list_busy(const ExpertWeights& experts, const cluster::ExpertWork& work) {
  busy_.clear();
  begins_.resize(work.assignments.size());
  const std::uint8_t* begins = begins_.data();
  for (auto rest = work.assignments; !rest.empty();) {
    const LocalExpert expert = rest.front().expert;
    UNMASK_CHECK(expert.at() < experts.size(), "expert {} of {}", expert, experts.size());
    const auto end = std::find_if(rest.begin(), rest.end(), [&](const auto& a) { return a.expert != expert; });
    const auto count = static_cast<std::size_t>(end - rest.begin());
    busy_.push_back({.expert = &experts[expert.at()], .picked = rest.first(count), .begins = begins, .h = nullptr, .x = nullptr});
    rest = rest.subspan(count);
    begins += count;
  }
}

/// A slot's first product is stored rather than added to a zero that would have to travel to memory and back. New slots that
/// nobody writes to are zero.
void PanelExperts::find_beginnings(std::int64_t hidden, const cluster::ExpertWork& work, float* slots) {
  begun_.assign(size(work.new_slots_end - work.new_slots_begin), 0);
  for (std::size_t i = 0; i < work.assignments.size(); ++i) {
    const std::int64_t slot = work.assignments[i].slot;
    begins_[i] = 0;
    if (slot >= work.new_slots_begin && slot < work.new_slots_end) {
      std::uint8_t& begun = begun_[size(slot - work.new_slots_begin)];
      begins_[i] = begun == 0 ? 1 : 0;
      begun = 1;
    }
  }
  for (std::int64_t slot = work.new_slots_begin; slot < work.new_slots_end; ++slot) {
    if (begun_[size(slot - work.new_slots_begin)] == 0) {
      std::memset(slots + slot * hidden, 0, size(hidden) * sizeof(float));
    }
  }
}

/// The next experts of `rest` that are worked on together; they find room for their h.
std::span<PanelExperts::Busy> PanelExperts::take_batch(std::span<Busy>& rest, const PanelKernels& kernels) {
  const auto h_of = [&](const Busy& b) { return row_tiles_bytes(kernels, std::ssize(b.picked), b.expert->down.cols()); };
  std::size_t count = 0;
  std::int64_t rows = 0;
  std::int64_t h_bytes = 0;
  for (; count < rest.size() && rows < kRowsPerBatch; ++count) {
    rows += std::ssize(rest[count].picked);
    h_bytes += h_of(rest[count]);
  }
  const std::span<Busy> batch = rest.first(count);
  rest = rest.subspan(count);
  h_.grow(h_bytes);
  std::byte* h = h_.data();
  for (Busy& b : batch) {
    b.h = h;
    h += h_of(b);
  }
  return batch;
}

/// Where there are few experts for many threads, each expert is many tasks: then its rows are gathered once for all of them.
void PanelExperts::gather_once(const Compute& compute, std::span<Busy> batch, const cluster::ExpertWork& work,
                               const PanelKernels& kernels) {
  if (std::ssize(tasks_) <= 2 * std::ssize(batch)) {
    return;
  }
  const auto bytes_of = [&](std::int64_t rows) { return row_tiles_bytes(kernels, rows, batch.front().expert->gate.cols()); };
  std::int64_t bytes = 0;
  for (const Busy& b : batch) {
    bytes += bytes_of(std::ssize(b.picked));
  }
  gathered_.grow(bytes);
  std::vector<std::pair<const Busy*, std::int64_t>> pieces;  // of kRowsAtOnce rows
  std::byte* x = gathered_.data();
  for (Busy& b : batch) {
    b.x = x;
    x += bytes_of(std::ssize(b.picked));
    for (std::int64_t begin = 0; begin < std::ssize(b.picked); begin += kRowsAtOnce) {
      pieces.emplace_back(&b, begin);
    }
  }
  compute.team->for_each(std::ssize(pieces), [&](std::int64_t i) {
    const auto& [b, begin] = pieces[size(i)];
    const std::int64_t hidden = b->expert->gate.cols();
    kernels.tile_rows({.x = work.rows.data(), .x_stride = hidden, .picked = b->picked.data() + begin,
                       .rows = std::min(kRowsAtOnce, std::ssize(b->picked) - begin), .k = hidden,
                       .tiles = b->x + bytes_of(begin)});
  });
}

/// Experts with many rows come first, so that no thread begins a long task last.
void PanelExperts::list_tasks(std::span<const Busy> batch, int num_threads) {
  tasks_.clear();
  const std::int64_t num_panels = batch.front().expert->gate.num_panels();
  const std::int64_t wanted = (has_many_rows(batch) ? kLongTasksPerThread : kTasksPerThread) * num_threads;
  // A team of one needs no balance, and each range of an expert would gather its rows again.
  const std::int64_t ranges = num_threads == 1 ? 1 : whole(wanted, std::ssize(batch));
  const std::int64_t each = whole(num_panels, 2 * std::min(ranges, num_panels)) * 2;  // even: a tile of h has one writer
  for (const Busy& b : batch) {
    for (std::int64_t begin = 0; begin < num_panels; begin += each) {
      tasks_.push_back({&b, begin, std::min(num_panels, begin + each)});
    }
  }
  std::stable_sort(tasks_.begin(), tasks_.end(),
                   [](const Task& a, const Task& b) { return a.busy->picked.size() > b.busy->picked.size(); });
}

bool PanelExperts::has_many_rows(std::span<const Busy> batch) {
  std::int64_t rows = 0;
  for (const Busy& b : batch) {
    rows += std::ssize(b.picked);
  }
  return rows > kManyRows * std::ssize(batch);
}

void PanelExperts::gate_up(const Task& task, const cluster::ExpertWork& work, const Compute& compute, Workspace& mine) {
  const PanelKernels& kernels = *compute.kernels->panels;
  const auto& [expert, picked, begins, h, gathered] = *task.busy;
  const std::int64_t hidden = expert->gate.cols();
  AlignedBuffer<std::byte>& x = mine.x;
  if (gathered == nullptr) {
    x.grow(row_tiles_bytes(kernels, std::min(kRowsAtOnce, std::ssize(picked)), hidden));
  }
  const bool is_quantised = expert->gate.layout() == Layout::kQuantised;
  for (std::int64_t begin = 0; begin < std::ssize(picked); begin += kRowsAtOnce) {
    const std::int64_t rows = std::min(kRowsAtOnce, std::ssize(picked) - begin);
    if (gathered == nullptr) {
      kernels.tile_rows({.x = work.rows.data(), .x_stride = hidden, .picked = picked.data() + begin, .rows = rows, .k = hidden,
                         .tiles = x.data()});
    }
    const std::byte* tiles = gathered != nullptr ? gathered + row_tiles_bytes(kernels, begin, hidden) : x.data();
    PanelGateUpProblem problem{.walk = {.x = tiles, .rows = rows, .k = hidden, .num_panels = task.panel_end - task.panel_begin},
                               .gate = nullptr, .up = nullptr, .next_gate = nullptr, .next_up = nullptr,
                               .h = h + row_tiles_bytes(kernels, begin, expert->down.cols()), .width = expert->gate.rows(),
                               .first_panel = task.panel_begin, .precision = compute.precision};
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

void PanelExperts::add_down(std::span<const Busy> batch, const Panels& panels, const PanelKernels& kernels, float* slots,
                            Workspace& mine) {
  const std::int64_t hidden = batch.front().expert->down.rows();
  const std::int64_t begin = panels.begin * kPanelRows;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const Busy& b = batch[i];
    const Matrix& down = b.expert->down;
    const Matrix* next = i + 1 < batch.size() ? &batch[i + 1].expert->down : nullptr;
    PanelAddProblem problem{.walk = {.x = b.h, .rows = std::ssize(b.picked), .k = down.cols(), .num_panels = panels.end - panels.begin},
                            .w = nullptr, .next_w = nullptr, .num_outputs = std::min(hidden, panels.end * kPanelRows) - begin,
                            .picked = b.picked.data(), .begins = b.begins, .slots = slots + begin, .slots_stride = hidden};
    if (down.layout() == Layout::kQuantised) {
      kernels.add_down_quantised({.product = problem, .type = down.type(), .w = down.quantised_panel(panels.begin),
                                  .next_w = next == nullptr ? nullptr : next->quantised_panel(panels.begin),
                                  .workspace = mine.expanded_of(down)});
      continue;
    }
    problem.w = down.panel(panels.begin);
    problem.next_w = next == nullptr ? nullptr : next->panel(panels.begin);
    kernels.add_down(problem);
  }
}

bfloat16* PanelExperts::Workspace::expanded_of(const Matrix& m) {
  constexpr std::int64_t kPanels = 4;
  expanded.grow(kPanels * m.panel_size());
  return expanded.data();
}

}  // namespace unmask::experts
