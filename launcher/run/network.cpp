// SPDX-License-Identifier: Apache-2.0
#include "launcher/run/network.h"

#include <algorithm>
#include <memory>
#include <span>

#include "experts/quantised.h"
#include "launcher/run/load_progress.h"
#include "launcher/run/routing_file.h"
#include "launcher/run/trace_file.h"

namespace unmask::launcher {
namespace {

runtime::ModelOptions model_options(const Job& job, experts::Precision precision) {
  const OptionValues& given = job.options();
  runtime::ModelOptions options{.precision = precision, .expert_type = expert_type_of(given), .device = given.text("device"),
                                .device_kernel = given.text("device-kernel"), .kernel = given.text("kernel")};
  options.exchange = exchange_options(given);
  options.micro_batches = micro_batches(given);
  options.pinning = given.text("pin") == "off" ? runtime::ModelOptions::Pinning::kOff : runtime::ModelOptions::Pinning::kAuto;
  options.sharing = sharing_of(given);
  if (given.given("threads")) {
    options.num_threads = narrow<int>(given.integer("threads"));
  }
  if (given.given("kv-memory")) {
    options.kv_memory_bytes = static_cast<std::uint64_t>(given.integer("kv-memory"));
  }
  options.place = [&given](std::int64_t experts, std::int64_t ranks) { return read_placement(given.text("placement"), experts, ranks); };
  options.facts = common_facts(job);
  options.log = &job.log;
  return options;
}

}  // namespace

Network::Network(const Job& job, const Options& options) : job_(job), precision_(options.precision), make_weights_(options.make_weights) {
  as_agreed([&] {
    auto how = model_options(job, options.precision);
    how.expert_type = options.expert_type ? options.expert_type : how.expert_type;
    how.exchange.trace = job.options().given("trace") ? &trace_ : nullptr;
    how.exchange.routing_log = job.options().given("record-routing") ? &routing_ : nullptr;
    model_ = options.config ? std::make_unique<runtime::Model>(job.comm, *options.config, std::move(how))
                            : std::make_unique<runtime::Model>(job.comm, job.options().text("model"), std::move(how));
  });
  job.log.debug("options: {}", job.options().dump(job.invocation.command));
  if (options.config) {
    return;
  }
  if (!config().unknown_keys.empty()) {
    job.log.warning("config.json has keys that mean nothing to this program: {}", fmt::join(config().unknown_keys, ", "));
  }
  if (const auto& unknown = model_->checkpoint().unknown_tensors(); !unknown.empty()) {
    job.log.warning("the checkpoint has {} tensors beside the network, which are not read: {}", unknown.size(),
                    fmt::join(std::span(unknown).first(std::min<std::size_t>(unknown.size(), 5)), ", "));
  }
}

void Network::load() {
  LoadProgressLine progress(job_.log);
  as_agreed([&] {
    if (make_weights_) {
      model_->make_weights(make_weights_);
    } else {
      model_->load([&](const runtime::LoadProgress& now) {
        job_.comm.works();
        progress.show(now);
      });
    }
  });
  progress.close();
  if (model_->num_rounded() > 0) {
    job_.log.info("{} matrices of the checkpoint were rounded to bf16", model_->num_rounded());
  }
  job_.log.debug("keys and values may take {} bytes", kv_memory_bytes());
}

std::string Network::dtype() const {
  const bool is_f32 = precision_ == experts::Precision::kFloat32;
  return is_f32 ? "f32" : std::string(experts::name_of(model_->expert_type()));
}

runtime::ModelOptions::Sharing sharing_of(const OptionValues& options) {
  return options.text("share-weights") == "off" ? runtime::ModelOptions::Sharing::kOff : runtime::ModelOptions::Sharing::kAuto;
}

std::optional<experts::WeightType> expert_type_of(const OptionValues& options) {
  if (!options.given("dtype")) {
    return std::nullopt;
  }
  const std::string dtype = options.text("dtype");
  return dtype == "int8" ? experts::WeightType::kInt8 : dtype == "int4" ? experts::WeightType::kInt4 : experts::WeightType::kBf16;
}

void Network::write_recordings() const {
  if (job_.options().given("trace")) {
    write_trace(job_, trace_, job_.options().text("trace"));
  }
  if (job_.options().given("record-routing")) {
    write_routing(job_, routing_, job_.options().text("record-routing"));
  }
}

experts::Precision precision_of(const OptionValues& options) {
  return options.text("dtype") == "f32" ? experts::Precision::kFloat32 : experts::Precision::kBfloat16;
}

}  // namespace unmask::launcher
