// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "launcher/commands/commands.h"
#include "launcher/io/safetensors_writer.h"
#include "launcher/run/network.h"
#include "launcher/run/single_pass.h"

namespace unmask::launcher {
namespace {

void write_logits(const std::string& file, std::int64_t rows, const runtime::ModelConfig& config, const PassLogits& pass) {
  const auto counts = std::as_bytes(pass.router_counts);
  const auto num_logits = static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(config.vocab_size);
  SafetensorsWriter writer(file, {{.name = "router_counts", .dtype = "I64", .shape = {config.num_layers, config.num_experts},
                                   .bytes = counts.size()},
                                  {.name = "logits", .dtype = "F32", .shape = {rows, config.vocab_size},
                                   .bytes = num_logits * sizeof(float)}});
  writer.append(counts);
  pass.for_each_piece([&](std::span<const float> logits) { writer.append(std::as_bytes(logits)); });
  writer.commit();
}

}  // namespace

ExitCode run_logits(const Job& job) {
  Network network(job, {.precision = precision_of(job.options())});
  std::vector<TokenId> tokens;
  agreed(job.comm, [&] {
    tokens = parse_token_list(job.options().text("prompt-tokens"), "--prompt-tokens");
    require_fits(tokens, network.config());
    if (job.comm.is_root()) {
      SafetensorsWriter::require_place(job.options().text("output"));
    }
  });
  network.load();
  run_single_pass(job, network, tokens, [&](const PassLogits& pass) {
    write_logits(job.options().text("output"), static_cast<std::int64_t>(tokens.size()), network.config(), pass);
  });
  job.log.info("logits of {} rows are in {}", tokens.size(), job.options().text("output"));
  return ExitCode::kDone;
}

}  // namespace unmask::launcher
