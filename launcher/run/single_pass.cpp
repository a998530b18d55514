// SPDX-License-Identifier: Apache-2.0
#include "launcher/run/single_pass.h"

#include <algorithm>

namespace unmask::launcher {

void require_fits(const std::vector<TokenId>& tokens, const runtime::ModelConfig& config) {
  require(!tokens.empty(), ExitCode::kBadInput, "expected at least one token, found none");
  require(std::cmp_less_equal(tokens.size(), config.max_positions), ExitCode::kBadInput,
          "expected at most {} tokens (max_position_embeddings), found {}", config.max_positions, tokens.size());
  for (const TokenId token : tokens) {
    require(token >= 0 && token < config.vocab_size, ExitCode::kBadInput, "expected tokens from 0 to {}, found {}",
            config.vocab_size - 1, token);
  }
}

void run_single_pass(const Job& job, Network& network, const std::vector<TokenId>& tokens,
                     const std::function<void(const PassLogits&)>& use) {
  constexpr std::int64_t kPieceRows = 64;
  runtime::StepBatch batch;
  if (job.comm.is_root()) {
    batch.add(tokens);
    for (std::size_t row = 0; row < tokens.size(); ++row) {
      batch.wanted.emplace_back(row);
    }
  }
  runtime::Transformer& transformer = network.transformer();
  transformer.forward(batch, job.comm.is_root() ? comm::Vote::kWork : comm::Vote::kIdle);
  agreed(job.comm, [&] {
    if (!job.comm.is_root()) {
      return;
    }
    const auto for_each_piece = [&](const std::function<void(std::span<const float>)>& take) {
      for (std::int64_t row = 0; row < batch.num_rows(); row += kPieceRows) {
        take(transformer.logits(row, std::min(row + kPieceRows, batch.num_rows())));
      }
    };
    use({transformer.router_counts(), for_each_piece});
  });
}

}  // namespace unmask::launcher
