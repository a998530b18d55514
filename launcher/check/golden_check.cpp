// SPDX-License-Identifier: Apache-2.0
#include "launcher/check/golden_check.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <thread>

#include "base/byte_stream.h"
#include "base/clock.h"
#include "launcher/check/golden.h"
#include "launcher/run/single_pass.h"
#include "launcher/text/model_text.h"
#include "runtime/engine.h"

namespace unmask::launcher {
namespace {

constexpr double kLogitTolerance = 1e-4;  ///< in f32, of the largest logit
// In bf16, of the norm of a pass's logits. Each layer rounds its values some ten times to 8 bits; where a near tie of the router
// falls the other way, a row takes another expert, and its logits move by as much as the tie was worth.
constexpr double kRoundedNorm = 8 * 0x1p-8;
constexpr double kReroutedNorm = 0.25;

struct Expected {
  std::vector<GoldenLogits> logits;
  GoldenDecodes decodes;
  SpecialTokens special;
};

Expected read_expected(const Job& job, const Network& network) {
  Expected out;
  agreed(job.comm, [&] {
    out.logits = read_golden_logits(network.files().path(), network.config().vocab_size);
    out.decodes = read_golden_decodes(network.files().path());
    if (!out.decodes.cases.empty()) {
      ModelText text;
      text.read(network.files());
      out.special = find_special_tokens(network.files(), network.config(), text.tokenizer ? &*text.tokenizer : nullptr, std::nullopt);
    }
    for (const GoldenLogits& one : out.logits) {
      require_fits(one.tokens, network.config());
    }
  });
  return out;
}

/// How far the logits of a pass are from the expected ones.
struct Distance {
  double largest = 0;  ///< difference, as a share of the largest logit
  double norm = 0;     ///< of the differences, as a share of the logits' norm
};

Distance compare_logits(const GoldenLogits& expected, const PassLogits& pass) {
  double largest = 0, difference = 0, squares = 0, square_differences = 0;
  std::size_t at = 0;
  pass.for_each_piece([&](std::span<const float> logits) {
    for (const float x : logits) {
      const double y = static_cast<double>(expected.logits[at++]);
      largest = std::max(largest, std::abs(y));
      const double d = std::abs(static_cast<double>(x) - y);
      difference = d <= difference ? difference : d;  // a NaN stays
      squares += y * y;
      square_differences += d * d;
    }
  });
  return {difference / std::max(largest, 1e-30), std::sqrt(square_differences / std::max(squares, 1e-30))};
}

/// Whether the same experts were chosen tells what may be expected.
enum class Experts { kSame, kOthers };

bool is_close(experts::Precision precision, const Distance& distance, Experts chosen) {
  if (precision == experts::Precision::kFloat32) {
    return distance.largest <= kLogitTolerance && chosen == Experts::kSame;
  }
  return distance.norm <= (chosen == Experts::kSame ? kRoundedNorm : kReroutedNorm);
}

void check_logits(const Job& job, Network& network, const Expected& expected, GoldenResult& result) {
  for (const GoldenLogits& one : expected.logits) {
    run_single_pass(job, network, one.tokens, [&](const PassLogits& pass) {
      const Distance distance = compare_logits(one, pass);
      const Experts chosen = std::ranges::equal(pass.router_counts, one.router_counts) ? Experts::kSame : Experts::kOthers;
      result.largest_difference = std::max(result.largest_difference, distance.largest);
      ++result.num_logits;
      result.wrong_logits += is_close(result.precision, distance, chosen) ? 0 : 1;
    });
  }
}

bool is_as_expected(const GoldenDecodes::Case& expected, const runtime::Answer& got) {
  std::vector<GoldenDecodes::Step> steps;
  for (const runtime::TraceStep& step : got.trace) {
    auto& one = steps.emplace_back();
    one.window = {step.window_begin, step.window_end};
    for (const runtime::Unmasked& u : step.unmasked) {
      one.positions.push_back(u.position);
    }
  }
  return !got.error && got.tokens == expected.tokens && got.passes == expected.passes && got.rows == expected.rows &&
         steps == expected.steps;
}

void check_decodes(const Job& job, Network& network, const Expected& expected, GoldenResult& result) {
  const auto& cases = expected.decodes.cases;
  std::int64_t wrong = 0;
  runtime::Engine engine(network.transformer(),
                         {.max_rows = job.options().integer("max-rows"),
                          .kv_memory_bytes = network.kv_memory_bytes(),
                          .eos_tokens = expected.special.ends,
                          .mask_token = expected.special.mask,
                          .keep_trace = true,
                          .stops_at_text = {}},
                         {.on_draft = {}, .on_answer = [&](const runtime::Request& request, const runtime::Answer& answer) {
                            wrong += is_as_expected(cases[size(request.number)], answer) ? 0 : 1;
                          }});
  for (std::size_t i = job.comm.rank().at(); i < cases.size(); i += size(job.comm.num_ranks())) {
    engine.submit(cases[i].request.to_request());
  }
  while (engine.run_step()) {
  }
  for (const auto& bytes : job.comm.all_gather(ByteWriter().put(wrong).take())) {
    result.wrong_decodes += ByteReader(bytes).get<std::int64_t>();
  }
  result.num_decodes = static_cast<std::int64_t>(cases.size());
  result.num_left_out = expected.decodes.num_left_out;
}

/// f32, unless the kernels asked for have bf16 only.
experts::Precision golden_precision(const std::string& kernel) {
  const auto families = experts::kernel_families();
  const auto found = std::ranges::find(families, std::string_view(kernel), &experts::KernelFamily::name);
  return found == families.end() ? experts::Precision::kFloat32 : (*found)->inputs;
}

}  // namespace

GoldenResult check_golden(const Job& job) {
  GoldenResult result;
  result.precision = golden_precision(job.options().text("kernel"));
  Network network(job, {.precision = result.precision});
  const Expected expected = read_expected(job, network);
  network.load();
  check_logits(job, network, expected, result);
  if (!expected.decodes.cases.empty() && result.precision == experts::Precision::kFloat32) {
    check_decodes(job, network, expected, result);
  }
  result.num_left_out = expected.decodes.num_left_out;
  return result;
}

}  // namespace unmask::launcher
