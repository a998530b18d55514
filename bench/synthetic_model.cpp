// SPDX-License-Identifier: Apache-2.0
#include "bench/synthetic_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "cluster/memory.h"
#include "experts/quantised.h"
#include "runtime/checkpoint.h"

namespace unmask::bench {
namespace {

enum class Layouts { kRowsAlways, kKernels, kExperts };

/// A matrix to be made: by one thread, which so is the first to touch it.
struct Task {
  experts::Matrix* matrix;
  std::int64_t rows, cols;
  double deviation;
  Layouts layouts;
  std::uint32_t stream;  ///< its place in the network

  bool is_of_expert() const { return layouts == Layouts::kExperts; }
};

constexpr std::uint32_t kEmbedding = 0, kHead = 1, kFinalNorm = 2, kFirstLayer = 16;
constexpr std::uint32_t kPerLayerBesideExperts = 16;

/// Twelve random bits choose one of 4,096 values, five values per step of a 64-bit xorshift (Marsaglia 2003) that every row
/// begins elsewhere: 15 GB take seconds, where a counter-based generator for each value would take minutes.
class Values {
 public:
  Values(double mean, double deviation) {
    const double half_width = deviation * std::sqrt(3.0);
    for (std::size_t i = 0; i < table_.size(); ++i) {
      const double centred = (static_cast<double>(i) + 0.5) / (static_cast<double>(table_.size()) / 2) - 1;
      table_[i] = to_bfloat16(static_cast<float>(mean + half_width * centred));
    }
  }

  void fill(std::uint32_t stream, std::int64_t row, std::span<bfloat16> values) const {
    const auto words = philox({static_cast<std::uint32_t>(row), 0, 0, 0}, {stream, 2});
    std::uint64_t state = (std::uint64_t{words[0]} << 32 | words[1]) | 1U;  // zero would stay zero
    for (std::size_t i = 0; i < values.size();) {
      state ^= state << 13U;
      state ^= state >> 7U;
      state ^= state << 17U;
      const std::size_t end = std::min(values.size(), i + 5);
      for (std::uint64_t bits = state; i < end; ++i, bits >>= 12U) {
        values[i] = table_[bits % 4096];
      }
    }
  }

 private:
  std::array<bfloat16, 4096> table_;
};

/// Panel by panel, so that nobody holds the matrix as bfloat16.
experts::Matrix make_quantised(const Task& task, const Values& values, experts::WeightType type) {
  experts::Matrix m(task.rows, task.cols, type);
  std::vector<bfloat16> rows(size(experts::kPanelRows * task.cols));
  for (std::int64_t p = 0; p < m.num_panels(); ++p) {
    for (std::int64_t r = p * experts::kPanelRows; r < std::min(task.rows, (p + 1) * experts::kPanelRows); ++r) {
      values.fill(task.stream, r, std::span(rows).subspan(size(r % experts::kPanelRows * task.cols), size(task.cols)));
    }
    experts::quantise_panel(rows.data(), p, m);
  }
  return m;
}

void make(const Task& task, const runtime::WeightForms& forms) {
  experts::Matrix& m = *task.matrix;
  const Values values(0, task.deviation);
  if (task.is_of_expert() && forms.expert_type != experts::WeightType::kBf16) {
    m = make_quantised(task, values, forms.expert_type);
    return;
  }
  if (task.is_of_expert()) {
    m = experts::Matrix(task.rows, task.cols);
  } else if (forms.share.memory != nullptr) {
    forms.share.memory->populate(m.memory_of_rows(0, task.rows));
  }
  for (std::int64_t r = 0; r < task.rows; ++r) {
    values.fill(task.stream, r, {m.row(r), size(task.cols)});
  }
  if (task.layouts != Layouts::kRowsAlways && forms.layout == experts::Layout::kPanels) {
    m.pack();
  }
}

std::vector<float> make_norm(std::int64_t count, std::uint32_t stream) {
  std::vector<bfloat16> values(size(count));
  Values(1, 0.1 / std::sqrt(3.0)).fill(stream, 0, values);
  std::vector<float> norm(size(count));
  std::transform(values.begin(), values.end(), norm.begin(), to_float);
  return norm;
}

class Plan {
 public:
  Plan(const runtime::ModelConfig& config, const cluster::Placement& placement, Rank rank, runtime::ModelWeights& weights)
      : config_(config) {
    add(weights.embedding, config.vocab_size, config.hidden, kEmbedding);
    tasks_.back().deviation = 1;
    tasks_.back().layouts = Layouts::kRowsAlways;
    add(weights.head, config.vocab_size, config.hidden, kHead);
    weights.final_norm = make_norm(config.hidden, kFinalNorm);
    weights.layers.resize(size(config.num_layers));
    std::uint32_t stream = kFirstLayer;
    for (auto& layer : weights.layers) {
      add_layer(layer, placement.held_by(rank), stream);
      stream += kPerLayerBesideExperts + 3 * static_cast<std::uint32_t>(config.num_experts);
    }
    // The largest first, so that no thread begins a long task last.
    std::stable_sort(tasks_.begin(), tasks_.end(), [](const Task& a, const Task& b) { return a.rows * a.cols > b.rows * b.cols; });
  }

  std::vector<Task> tasks() && { return std::move(tasks_); }

 private:
  void add_layer(runtime::LayerWeights& layer, std::span<const ExpertId> held, std::uint32_t stream) {
    const std::int64_t queries = config_.num_heads * config_.head_dim;
    const std::int64_t keys = config_.num_kv_heads * config_.head_dim;
    layer.input_norm = make_norm(config_.hidden, stream);
    layer.post_attention_norm = make_norm(config_.hidden, stream + 1);
    layer.q_norm = make_norm(config_.qk_norm ? config_.head_dim : 0, stream + 2);
    layer.k_norm = make_norm(config_.qk_norm ? config_.head_dim : 0, stream + 3);
    add(layer.q_proj, queries, config_.hidden, stream + 4);
    add(layer.k_proj, keys, config_.hidden, stream + 5);
    add(layer.v_proj, keys, config_.hidden, stream + 6);
    add(layer.o_proj, config_.hidden, queries, stream + 7);
    tasks_.back().deviation *= kAttentionGain;
    add(layer.router, config_.num_experts, config_.hidden, stream + 8);
    tasks_.back().layouts = Layouts::kRowsAlways;
    layer.experts.resize(held.size());
    for (std::size_t i = 0; i < held.size(); ++i) {
      const std::uint32_t first = stream + kPerLayerBesideExperts + 3 * static_cast<std::uint32_t>(held[i].value);
      add(layer.experts[i].gate, config_.expert_width, config_.hidden, first);
      add(layer.experts[i].up, config_.expert_width, config_.hidden, first + 1);
      add(layer.experts[i].down, config_.hidden, config_.expert_width, first + 2);
      std::for_each(tasks_.end() - 3, tasks_.end(), [](Task& task) { task.layouts = Layouts::kExperts; });
    }
  }
  void add(experts::Matrix& matrix, std::int64_t rows, std::int64_t cols, std::uint32_t stream) {
    tasks_.push_back({&matrix, rows, cols, 1 / std::sqrt(static_cast<double>(cols)), Layouts::kKernels, stream});
  }

  const runtime::ModelConfig& config_;
  std::vector<Task> tasks_;
};

/// Gives the matrices that all ranks need their places, and takes those out of the tasks that other ranks of the host make: whole
/// matrices, each by one rank.
void share(std::vector<Task>& tasks, const runtime::WeightForms& forms) {
  runtime::SharedPlaces places(forms.share);
  std::int64_t count = 0;
  std::vector<Task> mine;
  for (const Task& task : tasks) {
    if (task.is_of_expert()) {
      mine.push_back(task);
      continue;
    }
    const bool makes = count++ % forms.share.num_parts == forms.share.part;
    const bool panels = !makes && task.layouts != Layouts::kRowsAlways && forms.layout == experts::Layout::kPanels;
    *task.matrix = places.next(task.rows, task.cols, panels ? experts::Layout::kPanels : experts::Layout::kRows);
    if (makes) {
      mine.push_back(task);
    }
  }
  tasks = std::move(mine);
}

}  // namespace

runtime::ModelWeights synthetic_model(const runtime::ModelConfig& config, const cluster::Placement& placement, Rank rank,
                                      const runtime::WeightForms& forms, ThreadTeam& team) {
  const auto parts = static_cast<std::uint64_t>(forms.share.num_parts);
  const std::uint64_t needed = runtime::weight_bytes(config, placement, rank, forms.expert_type) - runtime::shared_weight_bytes(config) / parts * (parts - 1);
  const std::uint64_t available = cluster::available_memory_bytes();
  require(needed <= available, ExitCode::kBadInput,
          "the weights of rank {} need {} bytes of memory, {} are available: use a smaller config, or ranks on more hosts", rank,
          needed, available);
  runtime::ModelWeights weights;
  weights.shared = forms.share.memory;
  auto tasks = Plan(config, placement, rank, weights).tasks();
  share(tasks, forms);
  team.for_each(std::ssize(tasks), [&](std::int64_t i) { make(tasks[size(i)], forms); });
  return weights;
}

}  // namespace unmask::bench
