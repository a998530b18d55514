// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/byte_stream.h"
#include "bench/plain_check.h"
#include "experts/kernel_check.h"
#include "launcher/check/exchange_check.h"
#include "launcher/check/golden_check.h"
#include "launcher/commands/commands.h"

namespace unmask::launcher {
namespace {

/// Prints PASS and FAIL lines on rank 0, and counts.
class Report {
 public:
  explicit Report(const Job& job) : job_(job) {}

  template <class... Args>
  void line(bool passed, format_string<Args...> text, Args&&... args) {
    num_failed_ += passed ? 0 : 1;
    say(format("{} {}", passed ? "PASS" : "FAIL", format(text, std::forward<Args>(args)...)));
  }
  void say(const std::string& text) {
    if (job_.comm.is_root()) {
      job_.output.write(text + "\n");
    }
  }
  std::int64_t num_failed() const { return num_failed_; }

 private:
  const Job& job_;
  std::int64_t num_failed_ = 0;
};

/// The kernels that failed on this rank, as text; every rank has a processor of its own to test.
std::string failed_kernels(std::int64_t& num_checks) {
  std::string failed;
  for (const experts::KernelFamily* family : experts::kernel_families()) {
    if (!family->supported()) {
      continue;
    }
    for (const experts::KernelCheck& check : experts::check_kernels(*family)) {
      ++num_checks;
      if (!check.passed()) {
        failed += format("{}{}: {} differs by {:.3g}, {:.3g} allowed", failed.empty() ? "" : "; ", family->name, check.what,
                         check.difference, check.bound);
      }
    }
    for (const auto type : {experts::WeightType::kBf16, experts::WeightType::kInt8, experts::WeightType::kInt4}) {
      ++num_checks;
      try {
        bench::check_grouped_experts(*family, {.precision = experts::Precision::kBfloat16, .type = type}, 2);
      } catch (const Error& error) {
        failed += format("{}{}", failed.empty() ? "" : "; ", error.what());
      }
    }
  }
  return failed;
}

void report_kernels(const Job& job, Report& report) {
  std::int64_t num_checks = 0;
  ByteWriter mine;
  const std::string failed = failed_kernels(num_checks);
  mine.put(job.comm.host()).put(num_checks).put(failed);
  std::int64_t rank = 0;
  for (const auto& bytes : job.comm.all_gather(mine.take())) {
    ByteReader reader(bytes);
    const std::string host = reader.get_text();
    const auto count = reader.get<std::int64_t>();
    const std::string what = reader.get_text();
    report.line(what.empty(), "kernels on rank {} host {}: {} comparisons{}{}", rank++, host, count, what.empty() ? "" : ": ", what);
  }
}

void report_exchange(const Job& job, Report& report) {
  for (const ExchangeCheck& check : check_exchange(job)) {
    report.line(check.num_wrong == 0, "exchange on {} ranks ({}): {}: {} rows, {} wrong", job.comm.num_ranks(), job.comm.transport(),
                check.what, check.num_rows, check.num_wrong);
  }
}

void report_golden(const Job& job, Report& report) {
  const GoldenResult result = check_golden(job);
  const bool exact = result.precision == experts::Precision::kFloat32;
  if (result.num_logits > 0) {
    report.line(result.wrong_logits == 0, "golden logits in {}: {} passes, {} wrong, largest difference {:.2g} of the largest logit",
                exact ? "f32" : "bf16", result.num_logits, result.wrong_logits, result.largest_difference);
  }
  if (exact && result.num_decodes + result.num_left_out > 0) {
    report.line(result.wrong_decodes == 0, "golden answers in f32: {} run, {} wrong", result.num_decodes, result.wrong_decodes);
  }
  if (!exact) {
    report.say(format("SKIP golden answers: kernels {} have no f32, in which they were made", job.options().text("kernel")));
  }
  if (result.num_left_out > 0) {
    report.say(format("SKIP {} golden answers: their options are not available in this version", result.num_left_out));
  }
  if (result.num_logits + result.num_decodes + result.num_left_out == 0) {
    report.say(format("SKIP golden cases: {} has neither logits.safetensors nor decode.json; its weights loaded",
                      job.options().text("model")));
  }
}

}  // namespace

ExitCode run_check(const Job& job) {
  Report report(job);
  report_kernels(job, report);
  report_exchange(job, report);
  if (job.options().given("model")) {
    report_golden(job, report);
  }
  return share_code(job, [&] {
    report.say(report.num_failed() == 0 ? "all passed" : format("{} failed", report.num_failed()));
    return report.num_failed() == 0 ? ExitCode::kDone : ExitCode::kBadInput;
  });
}

}  // namespace unmask::launcher
