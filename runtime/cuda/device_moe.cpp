// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/device_moe.h"

#include <algorithm>

#include "base/error.h"

namespace unmask::runtime::cuda {
namespace {

using comm::UnitPlan;
using experts::cuda::check;
using experts::cuda::Count;
using experts::cuda::SumTerm;
using experts::cuda::SumUnit;

constexpr std::size_t at(DeviceMoe::Rows which) { return static_cast<std::size_t>(which); }

/// Tables that stay as they are.
template <class T>
void fill(experts::cuda::Array<T>& array, const std::vector<T>& values, cudaStream_t stream) {
  array.grow(std::max<std::int64_t>(1, std::ssize(values)));
  experts::cuda::copy(array.data(), values.data(), std::ssize(values), stream);
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

void wait_for(cudaStream_t stream, const experts::cuda::Event& event) {
  check(cudaStreamWaitEvent(stream, event.get()), "cudaStreamWaitEvent");
}

void record(const experts::cuda::Event& event, cudaStream_t stream) { check(cudaEventRecord(event.get(), stream), "cudaEventRecord"); }

}  // namespace

DeviceMoe::DeviceMoe(comm::DeviceLinks& links, const cluster::Placement& placement, Rank rank, const DeviceMoeOptions& options)
    : links_(links), options_(options),
      job_{.placement = placement, .units = UnitPlan(placement, options.combine), .rank = rank, .hidden = options.hidden,
           .top_k = options.top_k, .value_bytes = value_bytes(), .overlap = options.overlap,
           .min_part_bytes = options.min_part_bytes},
      links_stream_(experts::cuda::make_stream()), routed_(experts::cuda::make_event()), exchanged_(experts::cuda::make_event()) {
  for (auto& event : summed_) {
    event = experts::cuda::make_event();
  }
  std::vector<std::int32_t> local_of, owner;
  std::vector<SumTerm> terms;
  for (ExpertId expert(0); expert.value < placement.num_experts(); ++expert) {
    local_of.push_back(placement.owner(expert) == rank ? placement.local(expert).value : -1);
    owner.push_back(placement.owner(expert).value);
    const UnitPlan::Term& term = job_.units.terms()[expert.at()];
    terms.push_back({.order = term.order, .index = term.index, .group = term.group});
  }
  std::vector<SumUnit> units;
  for (const UnitPlan::Unit& unit : job_.units.units(rank)) {
    units.push_back({.begin = unit.begin, .end = unit.end, .is_rounded = unit.kind == UnitPlan::Kind::kRounded ? 1 : 0, .index = unit.index});
  }
  fill(local_of_, local_of, links_stream_.get());
  fill(owner_, owner, links_stream_.get());
  fill(traffic_, std::vector<experts::cuda::Traffic>(1), links_stream_.get());
  fill(terms_, terms, links_stream_.get());
  fill(units_, units, links_stream_.get());
  fill(wrong_, std::vector<unsigned long long>(layouts_.size()), links_stream_.get());
  host_wrong_.grow(std::ssize(layouts_));
  std::fill_n(host_wrong_.data(), layouts_.size(), 0);
}

void DeviceMoe::make_room(const comm::StepShape& shape) {
  grow(MoeLayout(job_, shape.rows));
  grow(MoeLayout(job_, shape.wanted));
  room_ = shape;
  shape_ = {};
}

void DeviceMoe::begin_step(const comm::StepShape& shape) {
  UNMASK_CHECK(comm::room_for(room_, shape) == room_, "a step for which nobody made room: {} rows in all", shape.rows.size());
  if (shape == shape_) {
    return;
  }
  shape_ = shape;
  layouts_ = {MoeLayout(job_, shape.rows), MoeLayout(job_, shape.wanted)};
  for (MoeLayout& layout : layouts_) {
    layout.address(job_, {rows_.data(), ids_.data(), weights_.data(), rounded_.data(), plain_.data()});
  }
}

void DeviceMoe::grow(const MoeLayout& layout) {
  const std::int64_t rows = layout.num_rows(), choices = rows * options_.top_k, pairs = layout.most_pairs();
  rows_.grow(rows * options_.hidden * value_bytes());
  ids_.grow(choices);
  weights_.grow(choices);
  offsets_.grow(job_.num_local() + 1);
  pair_rows_.grow(pairs);
  pair_weights_.grow(pairs);
  pair_of_.grow(choices);
  cursors_.grow(experts::cuda::pairs_workspace(rows, options_.top_k, job_.num_local()));
  h_.grow(pairs * options_.width * value_bytes());
  y_.grow(pairs * options_.hidden);
  rounded_.grow(layout.num_sums(UnitPlan::Kind::kRounded) * options_.hidden * value_bytes());
  plain_.grow(layout.num_sums(UnitPlan::Kind::kPlain) * options_.hidden);
}

void DeviceMoe::run(const DeviceMoeLayer& layer, Rows which, const Count& rows, float* residual, std::int64_t* counts, cudaStream_t stream) {
  const MoeLayout& layout = layouts_[at(which)];
  UNMASK_CHECK(rows.most == layout.own_rows(), "a step for {} rows, {} given", layout.own_rows(), rows.most);
  if (layout.num_rows() == 0) {
    return;  // of any rank
  }
  const std::int64_t own = layout.own_begin();
  experts::cuda::route({.x = residual, .hidden = options_.hidden, .rows = rows, .norm = layer.norm, .eps = options_.norm_eps,
                        .weight = layer.router, .num_experts = job_.placement.num_experts(), .top_k = options_.top_k,
                        .renormalise = options_.weights == experts::TopKWeights::kRenormalised,
                        .normed = values(rows_.data() + own * options_.hidden * value_bytes()), .ids = ids_.data() + own * options_.top_k,
                        .weights = weights_.data() + own * options_.top_k, .counts = counts},
                       stream);
  exchange("rows to the experts", layout.gather(), routed_, stream);
  count_traffic(layout, rows, stream);  // the stream would only wait
  wait_for_links(stream);
  sort(layout, which, stream);
  gate_up(layout, layer.experts, stream);
  for (std::int64_t part = 0; part < layout.num_parts(); ++part) {
    down_and_sum(layout, part, layer.experts, stream);
    exchange("sums to their rows", layout.returns(part), summed_[size(part)], stream);
  }
  wait_for_links(stream);
  experts::cuda::combine_units({.rounded = values(rounded_.data() + layout.incoming(UnitPlan::Kind::kRounded) * options_.hidden * value_bytes()),
                                .plain = plain_.data() + layout.incoming(UnitPlan::Kind::kPlain) * options_.hidden,
                                .hidden = options_.hidden, .top_k = options_.top_k, .rows = rows,
                                .ids = ids_.data() + own * options_.top_k, .terms = terms_.data(), .residual = residual},
                               stream);
}

/// Behind what is queued on the stream so far; the stream goes on meanwhile.
void DeviceMoe::exchange(std::string_view operation, const MoeLayout::Messages& messages, const experts::cuda::Event& begin,
                         cudaStream_t stream) {
  if (job_.placement.num_ranks() > 1) {
    record(begin, stream);
    wait_for(links_stream_.get(), begin);
    links_.exchange(operation, messages.out, messages.in, links_stream_.get());
  }
}

/// What is queued on the stream from now on finds what all exchanges so far brought.
void DeviceMoe::wait_for_links(cudaStream_t stream) {
  if (job_.placement.num_ranks() > 1) {
    record(exchanged_, links_stream_.get());
    wait_for(stream, exchanged_);
  }
}

void DeviceMoe::count_traffic(const MoeLayout& layout, const Count& rows, cudaStream_t stream) {
  if (job_.placement.num_ranks() > 1) {
    experts::cuda::count_traffic({.rows = rows, .top_k = options_.top_k, .ids = ids_.data() + layout.own_begin() * options_.top_k,
                                  .owner = owner_.data(), .rank = job_.rank.value, .terms = terms_.data(), .traffic = traffic_.data()},
                                 stream);
  }
}

void DeviceMoe::sort(const MoeLayout& layout, Rows which, cudaStream_t stream) {
  if (job_.num_local() > 0) {
    experts::cuda::sort_pairs({.ids = ids_.data(), .weights = weights_.data(), .rows = layout.num_rows(), .top_k = options_.top_k,
                               .local_of = local_of_.data(), .num_experts = job_.placement.num_experts(), .num_local = job_.num_local(),
                               .offsets = offsets_.data(), .pair_rows = pair_rows_.data(), .pair_weights = pair_weights_.data(),
                               .pair_of = pair_of_.data(), .wrong = wrong_.data() + at(which), .cursors = cursors_.data()},
                              stream);
  }
}

void DeviceMoe::fetch_wrong_choice(cudaStream_t stream) {
  experts::cuda::copy(host_wrong_.data(), static_cast<const unsigned long long*>(wrong_.data()), std::ssize(layouts_), stream);
}

std::optional<DeviceMoe::WrongChoice> DeviceMoe::wrong_choice() const {
  for (const Rows which : {Rows::kAll, Rows::kWanted}) {
    if (const unsigned long long word = host_wrong_.data()[at(which)]; word != 0) {
      const auto& begin = layouts_[at(which)].segments().begin;
      const std::int64_t row = (static_cast<std::int64_t>(word >> 32) - 1) / options_.top_k;
      Rank rank(0);
      while (rank.value + 1 < job_.placement.num_ranks() && begin[rank.at() + 1] <= row) {
        ++rank.value;
      }
      return WrongChoice{rank, row - begin[rank.at()], static_cast<std::int32_t>(static_cast<std::uint32_t>(word))};
    }
  }
  return std::nullopt;
}

void DeviceMoe::gate_up(const MoeLayout& layout, const DeviceExperts& experts, cudaStream_t stream) {
  if (job_.num_local() > 0) {
    experts::cuda::grouped_gate_up({.x = values(rows_.data()), .hidden = options_.hidden, .width = options_.width, .weights = experts.gate_up,
                                    .num_local = job_.num_local(), .offsets = offsets_.data(), .pair_rows = pair_rows_.data(),
                                    .most_pairs = layout.most_pairs(), .h = values(h_.data()), .kernel = options_.kernel},
                                   stream);
  }
}

void DeviceMoe::down_and_sum(const MoeLayout& layout, std::int64_t part, const DeviceExperts& experts, cudaStream_t stream) {
  const UnitPlan::Part units = job_.units.part(job_.rank, part, layout.num_parts());
  if (units.begin == units.end) {
    return;
  }
  experts::cuda::grouped_down({.h = values(h_.data()), .hidden = options_.hidden, .width = options_.width, .weights = experts.down,
                               .num_local = job_.num_local(), .first_expert = units.first_expert, .last_expert = units.last_expert,
                               .offsets = offsets_.data(), .pair_weights = pair_weights_.data(), .most_pairs = layout.most_pairs(),
                               .y = y_.data(), .kernel = options_.kernel},
                              stream);
  experts::cuda::sum_units({.y = y_.data(), .hidden = options_.hidden, .top_k = options_.top_k, .ids = ids_.data(),
                            .local_of = local_of_.data(), .pair_of = pair_of_.data(), .units = units_.data(), .first_unit = units.begin,
                            .last_unit = units.end, .rows = layout.segments(), .rounded = values(rounded_.data()), .plain = plain_.data()},
                           stream);
}

void DeviceMoe::count_step(std::int64_t num_layers) {
  num_layers_ += size(num_layers);
  wire_bytes_ += size(num_layers - 1) * layouts_[at(Rows::kAll)].bytes_out() + layouts_[at(Rows::kWanted)].bytes_out();
}

comm::ExchangeStatistics DeviceMoe::statistics(cudaStream_t stream) const {
  experts::cuda::Traffic traffic;
  experts::cuda::copy(&traffic, traffic_.data(), 1, stream);
  links_.wait(stream);
  const std::uint64_t row_bytes = size(options_.hidden * value_bytes());
  comm::ExchangeStatistics statistics;
  statistics.wire_bytes = wire_bytes_;
  statistics.minimum_bytes = (traffic.rows + traffic.rounded) * row_bytes + traffic.plain * size(options_.hidden) * sizeof(float);
  statistics.naive_bytes = 2 * traffic.pairs * row_bytes;
  statistics.num_layers = num_layers_;
  statistics.gathered_layers = job_.placement.num_ranks() > 1 ? num_layers_ : 0;
  return statistics;
}

}  // namespace unmask::runtime::cuda
