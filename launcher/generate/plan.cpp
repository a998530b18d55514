// SPDX-License-Identifier: Apache-2.0
#include "launcher/generate/plan.h"

#include <algorithm>

#include "base/byte_stream.h"
#include "launcher/view/terminal.h"

namespace unmask::launcher {
namespace {

bool wants_view(const Job& job) {
  const std::string show = job.options().text("show");
  const bool is_text = !job.options().is_on("json") && !job.options().given("requests");
  const bool one_process = job.comm.num_ranks() == 1 || job.comm.transport() == "threads";
  return is_text && (show == "on" || (show == "auto" && one_process && can_draw()));
}

void share(const Job& job, Plan& plan) {
  ByteWriter head;
  head.put(plan.special.mask).put(plan.special.ends).put(std::uint8_t{plan.draws});
  const auto bytes = job.comm.broadcast(head.take(), Rank(0));
  ByteReader reader(bytes);
  plan.special.mask = reader.get<TokenId>();
  plan.special.ends = reader.get_list<TokenId>();
  plan.draws = reader.get<std::uint8_t>() != 0;
  plan.requests = unpack_requests(job.comm.broadcast(pack(plan.asked.requests), Rank(0)));
}

}  // namespace

Plan make_plan(const Job& job, const Network& network) {
  Plan plan;
  agreed(job.comm, [&] {
    if (!job.comm.is_root()) {
      return;
    }
    plan.text.read(network.files());
    const auto* tokenizer = plan.text.tokenizer ? &*plan.text.tokenizer : nullptr;
    plan.special = find_special_tokens(network.files(), network.config(), tokenizer, job.options().sampling().mask_token);
    plan.asked = tokenize_inputs(job, plan.text, network.config());
    plan.draws = wants_view(job);
  });
  share(job, plan);
  const bool looks_for_stops = std::ranges::any_of(plan.requests, [](const auto& r) { return r.sampling.contains("stop"); });
  agreed(job.comm, [&] {
    if (looks_for_stops && !job.comm.is_root()) {
      plan.text.tokenizer.emplace(runtime::Tokenizer::of_model(network.files()));
    }
  });
  return plan;
}

}  // namespace unmask::launcher
