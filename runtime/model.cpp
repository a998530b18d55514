// SPDX-License-Identifier: Apache-2.0
#include "runtime/model.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/byte_stream.h"
#include "base/clock.h"
#include "cluster/device_place.h"
#include "cluster/memory.h"
#include "experts/quantised.h"
#include "runtime/host_share.h"
#include "runtime/host_transformer.h"

namespace unmask::runtime {

Model::Model(comm::Communicator& comm, const std::filesystem::path& path, ModelOptions options)
    : comm_(comm), options_(std::move(options)) {
  open([&] {
    checkpoint_.emplace(path);
    checkpoint_->require_type(expert_type());
    config_ = checkpoint_->config();
  });
}

Model::Model(comm::Communicator& comm, const ModelConfig& config, ModelOptions options)
    : comm_(comm), options_(std::move(options)), config_(config) {
  open([] {});
}

void Model::open(const std::function<void()>& read) {
  const int share = share_of_cores(comm_, options_.log);
  comm::run_together(comm_, [&] {
    read();
    placement_.emplace(options_.place(config_.num_experts, comm_.num_ranks()));
    team_ = std::make_unique<ThreadTeam>(options_.num_threads.value_or(share));
  });
  const std::vector<int> near = choose_device();
  if (options_.pinning == ModelOptions::Pinning::kAuto) {
    pin_ = pin_team(comm_, *team_, options_.log, near);
  }
  std::vector<comm::Fact> facts = options_.facts;
  if (checkpoint_) {
    facts.push_back({"checkpoint", checkpoint_->fingerprint()});
  }
  comm::require_same(comm_, facts);
  kernels_ = &agree_on_kernels(comm_, options_.kernel, options_.precision, options_.log);
}

/// Collective.
std::vector<int> Model::choose_device() {
  const DeviceBackend* const built = device_backend();
  if (options_.device == "auto") {
    std::string problem;
    const bool has_one = built != nullptr && built->is_proven() && !built->devices(problem).empty();
    bool all_have = true;
    for (const auto& bytes : comm_.all_gather(ByteWriter().put(std::uint8_t{has_one}).take())) {
      all_have = all_have && ByteReader(bytes).get<std::uint8_t>() != 0;
    }
    backend_ = all_have ? built : nullptr;
  } else if (options_.device != "cpu") {
    comm::run_together(comm_, [&] {
      require(built != nullptr && options_.device == built->name(), ExitCode::kUsage, "--device: expected {}, found {}: this build has no other",
              built == nullptr ? "cpu" : format("cpu, auto or {}", built->name()), options_.device);
    });
    backend_ = built;
  }
  comm::run_together(comm_, [&] {
    require(backend_ != nullptr || options_.device_kernel == "auto", ExitCode::kUsage, "--device-kernel {}: expected --device with a GPU, found {}",
            options_.device_kernel, options_.device);
  });
  if (backend_ == nullptr) {
    return {};
  }
  DeviceFacts taken;
  comm::run_together(comm_, [&] {
    taken = backend_->take_device(comm_);
    require(expert_type() != experts::WeightType::kInt4, ExitCode::kBadInput,
            "--device {}: experts in int4 do not run there: use bf16 or int8, or --device cpu", backend_->name());
    backend_->require_kernel(options_.device_kernel, taken, options_.precision, expert_type());
  });
  const auto place = cluster::find_device_place(taken.place);
  if (options_.log != nullptr) {
    options_.log->info("rank {} runs on {} at {} ({}, {:.1f} of {:.1f} GB free); near it: cores {}, network {}", comm_.rank(), taken.name, taken.place,
                       taken.architecture, 1e-9 * static_cast<double>(taken.free_bytes), 1e-9 * static_cast<double>(taken.memory_bytes),
                       place ? cluster::list_cores(place->cores) : "unknown", place ? format("{}", fmt::join(place->networks, " ")) : "unknown");
  }
  return place ? place->cores : std::vector<int>();
}

/// A device takes all matrices in rows.
WeightForms Model::forms() const {
  return {.layout = backend_ != nullptr ? experts::Layout::kRows : experts::layout_of(*kernels_), .expert_type = expert_type(), .share = {}};
}

experts::WeightType Model::expert_type() const {
  const bool has_checkpoint = static_cast<bool>(checkpoint_);
  return options_.expert_type.value_or(has_checkpoint ? checkpoint_->expert_type() : experts::WeightType::kBf16);
}

/// What the ranks of each host will hold together, against what the host has.
void Model::require_memory(const WeightShare& share) const {
  const bool held_by_another = share.memory != nullptr && share.part > 0;
  const std::uint64_t mine = weight_bytes(config_, *placement_, comm_.rank(), expert_type()) - (held_by_another ? shared_weight_bytes(config_) : 0);
  std::uint64_t on_host = 0;
  for (const auto& bytes : comm_.all_gather(ByteWriter().put(comm_.host()).put(mine).take())) {
    ByteReader reader(bytes);
    if (reader.get_text() == comm_.host()) {
      on_host += reader.get<std::uint64_t>();
    }
  }
  comm::run_together(comm_, [&] {
    const std::uint64_t available = cluster::available_memory_bytes();
    require(on_host <= available, ExitCode::kBadInput,
            "the weights of this host's {} ranks need {} bytes of memory, {} are available: use more hosts, or free memory",
            comm_.num_ranks_on_host(), on_host, available);
  });
}

void Model::load(std::function<void(const LoadProgress&)> progress) {
  get_weights([&](const WeightShare& share) {
    return checkpoint_->load(*placement_, comm_.rank(), *team_,
                             {.layout = forms().layout, .expert_type = expert_type(), .share = share, .progress = std::move(progress)});
  });
}

void Model::make_weights(const MakeWeights& make) {
  get_weights([&](const WeightShare& share) {
    WeightForms how = forms();
    how.share = share;
    return LoadResult{.weights = make(config_, *placement_, comm_.rank(), how, *team_)};
  });
}

void Model::get_weights(const std::function<LoadResult(const WeightShare&)>& get) {
  const bool may_share = options_.sharing == ModelOptions::Sharing::kAuto;
  const WeightShare share = may_share ? share_on_host(comm_, shared_memory_bytes(config_), options_.log) : WeightShare{};
  require_memory(share);
  const Stopwatch clock;
  comm::run_together(comm_, [&] { loaded_.emplace(get(share)); });
  if (share.memory != nullptr) {
    share.memory->forbid_writes();  // all ranks have filled their parts
  }
  make_transformer();
  load_seconds_ = clock.seconds();
  const std::uint64_t free_share = share_of_free_memory();
  kv_memory_bytes_ = options_.kv_memory_bytes.value_or(free_share);
}

void Model::make_transformer() {
  comm::ExchangeOptions exchange = options_.exchange;
  exchange.hidden = config_.hidden;
  exchange.wire = options_.precision == experts::Precision::kBfloat16 ? comm::WireType::kBfloat16 : comm::WireType::kFloat32;
  const experts::Compute compute{kernels_, team_.get(), options_.precision};
  if (backend_ != nullptr) {
    transformer_ = backend_->make_transformer(
        {.config = config_, .placement = *placement_, .comm = comm_, .compute = compute, .kernel = options_.device_kernel, .exchange = exchange,
         .log = options_.log},
        loaded_->weights);
    return;
  }
  exchange.link = comm::probe_links(comm_);
  if (exchange.link.bytes_per_second > 0 && options_.log != nullptr) {
    options_.log->info("links between ranks: {:.1f} us, {:.3g} GB/s each way; {}", 1e6 * exchange.link.latency_seconds,
                       1e-9 * exchange.link.bytes_per_second, comm::describe_choice(exchange));
  }
  exchange_ = comm::make_exchange(comm_, *placement_, *team_, exchange);
  transformer_ = std::make_unique<HostTransformer>(config_, loaded_->weights, *exchange_, compute,
                                                   MicroBatching{options_.micro_batches, exchange.link});
}

/// Collective, so that it is measured when all ranks have loaded; the other half is for the buffers of a step. Ranks of a host divide
/// its memory among them; a device belongs to one rank, but for ranks that are threads.
std::uint64_t Model::share_of_free_memory() const {
  const auto on_device = transformer_->free_device_bytes();
  const std::uint64_t mine = on_device.value_or(cluster::available_memory_bytes());
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  for (const auto& bytes : comm_.all_gather(ByteWriter().put(comm_.host()).put(mine).take())) {
    ByteReader reader(bytes);
    const bool same_host = reader.get_text() == comm_.host();
    const auto available = reader.get<std::uint64_t>();
    least = same_host ? std::min(least, available) : least;
  }
  const bool is_shared = !on_device || comm_.transport() == "threads";
  return least / 2 / (is_shared ? static_cast<std::uint64_t>(comm_.num_ranks_on_host()) : 1);
}

}  // namespace unmask::runtime
