// SPDX-License-Identifier: Apache-2.0
#include "launcher/bench/request_work.h"

#include <algorithm>
#include <iterator>

#include "base/random.h"
#include "launcher/generate/plan.h"
#include "runtime/engine.h"

namespace unmask::launcher {
namespace {

/// A prompt of ordinary tokens: any but the mask and the end tokens.
std::vector<TokenId> synthetic_prompt(std::int64_t number, std::int64_t length, const SpecialTokens& special, std::int64_t vocab) {
  std::vector<TokenId> tokens;
  for (std::uint32_t i = 0; std::ssize(tokens) < length; ++i) {
    const auto word = philox({i, static_cast<std::uint32_t>(number), 0, 0}, {0x70, 0x72})[0];
    const auto token = static_cast<TokenId>(word % static_cast<std::uint64_t>(vocab));
    if (token != special.mask && std::ranges::count(special.ends, token) == 0) {
      tokens.push_back(token);
    }
  }
  return tokens;
}

}  // namespace

RequestWork make_request_work(const Job& job, const Network& network, std::int64_t most) {
  RequestWork work;
  if (job.options().given("config")) {
    const runtime::ModelConfig& config = network.config();
    work.special.mask = config.mask_token.value_or(static_cast<TokenId>(config.vocab_size - 1));
    work.special.ends = config.eos_tokens;
  }
  if (job.options().given("requests")) {
    Plan plan = make_plan(job, network);
    work.special = plan.special;
    std::ranges::transform(plan.requests, std::back_inserter(work.requests), &TokenRequest::to_request);
    agreed(job.comm, [&] {
      require(plan.asked.refused.empty(), ExitCode::kBadInput, "--requests: {}",
              plan.asked.refused.empty() ? "" : plan.asked.refused.front().error->what());
      require(!work.requests.empty(), ExitCode::kBadInput, "--requests: expected at least one request, found none");
    });
    return work;
  }
  agreed(job.comm, [&] {
    if (!job.options().given("config")) {
      ModelText text;
      text.read(network.files());
      work.special = find_special_tokens(network.files(), network.config(), text.tokenizer ? &*text.tokenizer : nullptr, {});
    }
    for (std::int64_t i = 0; i < most; ++i) {
      work.requests.push_back({.number = i, .id = std::to_string(i), .prompt = {}, .options = job.options().sampling()});
      work.requests.back().prompt =
          synthetic_prompt(i, job.options().integer("prompt-length"), work.special, network.config().vocab_size);
    }
    runtime::require_runnable(work.requests.front(), network.config());
  });
  return work;
}

}  // namespace unmask::launcher
