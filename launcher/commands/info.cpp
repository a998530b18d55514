// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include <nlohmann/json.hpp>

#include "cluster/memory.h"
#include "cluster/topology.h"
#include "comm/exchange.h"
#include "comm/link_probe.h"
#include "experts/kernels.h"
#include "experts/quantised.h"
#include "launcher/commands/commands.h"
#include "launcher/run/network.h"
#include "launcher/run/version.h"
#include "launcher/text/model_text.h"
#include "runtime/checkpoint.h"
#include "runtime/device_backend.h"

namespace unmask::launcher {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kUsualHidden = 2048;  // of LLaDA-MoE, where no model is given

double with_decimals(double value, int decimals) {
  const double unit = std::pow(10, decimals);
  return std::round(value * unit) / unit;
}

Json model_json(const runtime::ModelFiles& files, const runtime::ModelConfig& config) {
  Json out = Json::object();
  out[files.packed() == nullptr ? "folder" : "packed"] = files.path().string();
  out["architecture"] = config.architecture;
  out["layers"] = config.num_layers;
  out["hidden"] = config.hidden;
  out["heads"] = config.num_heads;
  out["kv_heads"] = config.num_kv_heads;
  out["head_dim"] = config.head_dim;
  out["experts"] = config.num_experts;
  out["experts_per_token"] = config.experts_per_token;
  out["expert_width"] = config.expert_width;
  out["vocabulary"] = config.vocab_size;
  out["positions"] = config.max_positions;
  out["rope_theta"] = config.rope_theta;
  out["qk_norm"] = config.qk_norm;
  out["renormalised_top_k"] = config.renormalise_top_k;
  out["parameters"] = config.num_parameters();
  return out;
}

/// Returns how the experts are stored. A folder with a config alone can be looked at too: what it would need is known before the
/// weights are there.
experts::WeightType add_weights(Json& out, const runtime::ModelFiles& files) {
  const bool has_weights = files.packed() != nullptr || files.has("model.safetensors") || files.has("model.safetensors.index.json");
  if (!has_weights) {
    out["tensor_bytes"] = nullptr;
    out["note"] = "no safetensors in this folder: config.json alone";
    return experts::WeightType::kBf16;
  }
  const runtime::Checkpoint checkpoint(files);
  out["tensor_bytes"] = checkpoint.tensor_bytes();
  out["fingerprint"] = checkpoint.fingerprint();
  return checkpoint.expert_type();
}

/// Tokens that mean something; a folder without a mask token says so instead of failing.
void add_tokens(Json& out, const runtime::ModelFiles& files, const runtime::ModelConfig& config) {
  ModelText text;
  text.read(files);
  out["tokenizer"] = text.tokenizer ? Json(text.tokenizer->vocab_size()) : Json();
  out["chat_template"] = text.chat.has_value();
  try {
    const auto special = find_special_tokens(files, config, text.tokenizer ? &*text.tokenizer : nullptr, std::nullopt);
    out["mask_token"] = special.mask;
    out["end_tokens"] = special.ends;
  } catch (const Error& error) {
    out["mask_token"] = nullptr;
    out["mask_note"] = error.what();
  }
}

Json bytes_per_rank(const runtime::ModelConfig& config, std::int64_t ranks, experts::WeightType type) {
  const auto placement = cluster::Placement::even(config.num_experts, ranks);
  Json out = Json::array();
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    out.push_back(runtime::weight_bytes(config, placement, Rank(rank), type));
  }
  return out;
}

Json machine_json() {
  const cluster::Topology machine = cluster::read_topology();
  Json out = Json::object();
  out["processor"] = machine.cpu_model;
  out["sockets"] = machine.num_sockets;
  out["numa_nodes"] = machine.num_numa_nodes;
  out["cores"] = machine.num_cores;
  out["hardware_threads"] = machine.num_processing_units;
  out["l1d_bytes"] = machine.l1d_bytes;
  out["l2_bytes"] = machine.l2_bytes;
  out["l3_bytes"] = machine.l3_bytes;
  out["cores_allowed"] = machine.num_allowed_cores;
  out["hardware_threads_allowed"] = machine.num_allowed_units;
  out["cores_by_quota"] = machine.quota_cores > 0 ? Json(machine.quota_cores) : Json();
  out["memory_bytes"] = machine.memory_bytes;
  out["available_memory_bytes"] = cluster::available_memory_bytes();
  return out;
}

Json kernels_json() {
  Json out = Json::array();
  for (const experts::KernelFamily* family : experts::kernel_families()) {
    Json one = Json::object();
    one["name"] = family->name;
    one["needs"] = family->needs;
    one["supported"] = family->supported();
    one["slow"] = family->is_slow();
    out.push_back(std::move(one));
  }
  return out;
}

/// Devices beside the processor; nothing in a build without.
Json devices_json(const runtime::DeviceBackend& backend) {
  Json out = Json::object();
  out["backend"] = format("{} ({})", backend.name(), backend.version());
  out["chosen_by_auto"] = backend.is_proven();
  if (!backend.is_proven()) {
    out["note"] = "this backend has been run on a simulator only, never on a real device: --device auto does not choose it";
  }
  std::string problem;
  Json list = Json::array();
  for (const runtime::DeviceFacts& device : backend.devices(problem)) {
    list.push_back({{"name", device.name}, {"needs", format("{} at {}, {} multiprocessors, {:.1f} of {:.1f} GB free{}{}", device.architecture,
                                                            device.place, device.multiprocessors, 1e-9 * static_cast<double>(device.free_bytes),
                                                            1e-9 * static_cast<double>(device.memory_bytes),
                                                            device.unusable.empty() ? "" : ": ", device.unusable)},
                    {"supported", device.unusable.empty()}});
  }
  out["devices"] = list;
  if (list.empty()) {
    out["problem"] = problem.empty() ? "no device" : problem;
  }
  return out;
}

/// What passes between the ranks of this launch, and how their rows would travel; nothing for one rank alone.
Json links_json(const comm::LinkFacts& links, const Job& job, const Json& model) {
  comm::ExchangeOptions options{.hidden = kUsualHidden, .link = links};
  if (model.is_object()) {
    options.hidden = model["hidden"].get<std::int64_t>();
  }
  Json out = Json::object();
  out["ranks"] = job.comm.num_ranks();
  out["latency_us"] = with_decimals(1e6 * links.latency_seconds, 1);
  out["gigabytes_per_second"] = with_decimals(1e-9 * links.bytes_per_second, 3);
  out["exchange"] = format("rows of {} bf16 values: {}", options.hidden, comm::describe_choice(options));
  return out;
}

/// A number or a list of them; bytes also as people say them.
std::string plain_text(const std::string& key, const Json& value) {
  if (!key.starts_with("bytes") && !key.ends_with("bytes")) {
    return value.dump();
  }
  std::string out;
  for (const Json& one : value.is_array() ? value : Json::array({value})) {
    const auto bytes = one.get<std::uint64_t>();
    out += format("{}{} ({:.2f} GB)", out.empty() ? "" : ", ", bytes, static_cast<double>(bytes) * 1e-9);
  }
  return out;
}

/// `key: value` lines, one indented group per object.
std::string readable(const Json& object, const std::string& indent) {
  std::string out;
  for (const auto& [key, value] : object.items()) {
    std::string name = key;
    std::ranges::replace(name, '_', ' ');
    if (value.is_object()) {
      out += format("{}{}\n{}", indent, name, readable(value, indent + "  "));
    } else if (value.is_array() && !value.empty() && value.front().is_object()) {
      out += format("{}{}\n", indent, name);
      for (const Json& one : value) {
        out += format("{}  {:<24} {}{}\n", indent, one["name"].get<std::string>(), one["needs"].get<std::string>(),
                      !one["supported"].get<bool>()  ? " (not on this processor)"
                      : one.value("slow", false) ? " (slow on this processor: only by --kernel)"
                                                 : "");
      }
    } else {
      const std::string text = value.is_string() ? value.get<std::string>() : value.is_null() ? "none" : plain_text(key, value);
      out += format("{}{:<{}} {}\n", indent, name, 26 - indent.size(), text);
    }
  }
  return out;
}

}  // namespace

ExitCode run_info(const Job& job) {
  const comm::LinkFacts links = comm::probe_links(job.comm);
  if (!job.comm.is_root()) {
    return ExitCode::kDone;
  }
  Json out = Json::object();
  out["version"] = version_line();
  if (job.options().given("model")) {
    const runtime::ModelFiles files(std::filesystem::path(job.options().text("model")));
    const runtime::ModelConfig config = runtime::read_model_config(files);
    out["model"] = model_json(files, config);
    const experts::WeightType stored = add_weights(out["model"], files);
    add_tokens(out["model"], files, config);
    const experts::WeightType type = expert_type_of(job.options()).value_or(stored);
    out["expert_weights"] = experts::name_of(type);
    out["bytes_per_rank"] = bytes_per_rank(config, job.options().integer("ranks"), type);
    out["bytes_shared_on_host"] = runtime::shared_weight_bytes(config);  // of each of these
    if (!config.unknown_keys.empty()) {
      out["unknown_keys"] = config.unknown_keys;
    }
  }
  out["machine"] = machine_json();
  out["kernels"] = kernels_json();
  if (const runtime::DeviceBackend* const backend = runtime::device_backend()) {
    out["gpu"] = devices_json(*backend);
  }
  if (job.comm.num_ranks() > 1) {
    out["links"] = links_json(links, job, out.value("model", Json()));
  }
  job.output.write(job.options().is_on("json") ? out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n" : readable(out, ""));
  return ExitCode::kDone;
}

}  // namespace unmask::launcher
