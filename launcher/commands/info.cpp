// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "cluster/memory.h"
#include "cluster/topology.h"
#include "experts/kernels.h"
#include "launcher/commands/commands.h"
#include "launcher/run/version.h"
#include "launcher/text/model_text.h"
#include "runtime/checkpoint.h"

namespace unmask::launcher {
namespace {

using Json = nlohmann::ordered_json;

Json model_json(const runtime::Checkpoint& checkpoint) {
  const runtime::ModelConfig& config = checkpoint.config();
  Json out = Json::object();
  out["folder"] = checkpoint.folder().string();
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
  out["tensor_bytes"] = checkpoint.tensor_bytes();
  out["fingerprint"] = checkpoint.fingerprint();
  return out;
}

/// Tokens that mean something; a folder without a mask token says so instead of failing.
void add_tokens(Json& out, const runtime::Checkpoint& checkpoint) {
  ModelText text;
  text.read(checkpoint.folder());
  out["tokenizer"] = text.tokenizer ? Json(text.tokenizer->vocab_size()) : Json();
  out["chat_template"] = text.chat.has_value();
  try {
    const auto special =
        find_special_tokens(checkpoint.folder(), checkpoint.config(), text.tokenizer ? &*text.tokenizer : nullptr, std::nullopt);
    out["mask_token"] = special.mask;
    out["end_tokens"] = special.ends;
  } catch (const Error& error) {
    out["mask_token"] = nullptr;
    out["note"] = error.what();
  }
}

Json bytes_per_rank(const runtime::Checkpoint& checkpoint, std::int64_t ranks) {
  const auto placement = cluster::Placement::even(checkpoint.config().num_experts, ranks);
  Json out = Json::array();
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    out.push_back(checkpoint.bytes_held(placement, Rank(rank)));
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
    out.push_back(std::move(one));
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
                      one["supported"].get<bool>() ? "" : " (not on this processor)");
      }
    } else {
      const std::string text = value.is_string() ? value.get<std::string>() : value.is_null() ? "none" : value.dump();
      out += format("{}{:<{}} {}\n", indent, name, 26 - indent.size(), text);
    }
  }
  return out;
}

}  // namespace

ExitCode run_info(const Job& job) {
  Json out = Json::object();
  out["version"] = version_line();
  if (job.options().given("model")) {
    const runtime::Checkpoint checkpoint(job.options().text("model"));
    out["model"] = model_json(checkpoint);
    add_tokens(out["model"], checkpoint);
    out["bytes_per_rank"] = bytes_per_rank(checkpoint, job.options().integer("ranks"));
    if (!checkpoint.config().unknown_keys.empty()) {
      out["unknown_keys"] = checkpoint.config().unknown_keys;
    }
  }
  out["machine"] = machine_json();
  out["kernels"] = kernels_json();
  job.output.write(job.options().is_on("json") ? out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n" : readable(out, ""));
  return ExitCode::kDone;
}

}  // namespace unmask::launcher
