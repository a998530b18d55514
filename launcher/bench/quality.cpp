// SPDX-License-Identifier: Apache-2.0
// `unmask bench quality`: what experts in fewer bits change. The model in bf16 answers the requests; then every dtype gives the
// logits of the same rows (answers all masked, and half masked), and answers of its own.
#include <algorithm>
#include <cmath>
#include <fstream>

#include "base/clock.h"
#include "base/random.h"
#include "cluster/memory.h"
#include "experts/quantised.h"
#include "launcher/bench/bench_table.h"
#include "launcher/bench/request_load.h"
#include "launcher/bench/request_work.h"
#include "launcher/run/single_pass.h"
#include "launcher/text/answer_text.h"

namespace unmask::launcher {
namespace {

/// An answer in the making: the positions whose logits are compared are masked.
struct State {
  std::vector<TokenId> tokens;
  std::vector<std::int64_t> masked;
};

/// All of the answer masked, then the half of it that a counter-based generator chooses.
std::vector<State> make_states(const RequestWork& work, const std::map<std::int64_t, std::vector<TokenId>>& answers) {
  std::vector<State> states;
  for (const runtime::Request& request : work.requests) {
    for (const std::uint32_t some : {0U, 1U}) {
      State state{.tokens = request.prompt, .masked = {}};
      for (const TokenId token : answers.at(request.number)) {
        const auto at = static_cast<std::uint32_t>(state.tokens.size());
        const bool stays = some != 0 && philox({at, static_cast<std::uint32_t>(request.number), 0, 0}, {0x71, 0x75})[0] % 2 == 0;
        if (!stays) {
          state.masked.push_back(at);
        }
        state.tokens.push_back(stays ? token : work.special.mask);
      }
      states.push_back(std::move(state));
    }
  }
  return states;
}

/// Calls use(logits) for each masked position of each state, in order; on rank 0. Collective.
void for_each_masked(const Job& job, Network& network, const std::vector<State>& states, const std::function<void(std::span<const float>)>& use) {
  const auto vocab = size(network.config().vocab_size);
  for (const State& state : states) {
    run_single_pass(job, network, state.tokens, [&](const PassLogits& pass) {
      std::int64_t row = 0;
      pass.for_each_piece([&](std::span<const float> logits) {
        for (std::size_t at = 0; at < logits.size(); at += vocab, ++row) {
          if (std::ranges::binary_search(state.masked, row)) {
            use(logits.subspan(at, vocab));
          }
        }
      });
    });
  }
}

/// The logarithm of the softmax's denominator.
double log_sum(std::span<const float> logits) {
  const auto most = static_cast<double>(*std::ranges::max_element(logits));
  double sum = 0;
  for (const float x : logits) {
    sum += std::exp(static_cast<double>(x) - most);
  }
  return most + std::log(sum);
}

/// Sum over the vocabulary of p log(p / q), of the softmaxes of two rows of logits.
double divergence(std::span<const float> p, std::span<const float> q) {
  const double log_p = log_sum(p), log_q = log_sum(q);
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double a = static_cast<double>(p[i]) - log_p;
    sum += std::exp(a) * (a - (static_cast<double>(q[i]) - log_q));
  }
  return sum;
}

/// How logits differ from those in bf16.
struct Difference {
  std::int64_t positions = 0, same_top = 0;
  double sum = 0, largest = 0;

  void add(std::span<const float> expected, std::span<const float> got) {
    const auto top = [](std::span<const float> row) { return std::ranges::max_element(row) - row.begin(); };
    ++positions;
    same_top += top(expected) == top(got) ? 1 : 0;
    const double kl = divergence(expected, got);
    sum += kl;
    largest = std::max(largest, kl);
  }
};

/// The lines of --expect; empty without it.
std::vector<std::string> read_expected(const Job& job, std::size_t num_requests) {
  std::vector<std::string> lines;
  if (!job.options().given("expect")) {
    return lines;
  }
  const std::string name = job.options().text("expect");
  std::ifstream file(name);
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
  }
  require(lines.size() == num_requests, ExitCode::kBadInput, "--expect {}: expected a line for each of {} requests, found {}", name, num_requests,
          lines.size());
  return lines;
}

std::int64_t count_right(const Network& network, const RequestWork& work, const std::vector<std::string>& expected, const LoadReport& load) {
  ModelText text;
  text.read(network.files());
  const runtime::Tokenizer& tokenizer = text.need_tokenizer("--expect");
  std::int64_t right = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const runtime::Request& request = work.requests[i];
    runtime::Answer answer;
    answer.tokens = load.answers.at(request.number);
    const auto is_end = [&](TokenId token) { return std::ranges::count(work.special.ends, token) > 0; };
    answer.text_tokens = std::ranges::find_if(answer.tokens, is_end) - answer.tokens.begin();
    right += answer_text(answer, request.options.stop, &tokenizer).text == expected[i] ? 1 : 0;
  }
  return right;
}

/// The measurement of all types, the one in bf16 first.
class Quality {
 public:
  explicit Quality(const Job& job) : job_(job) {}

  bench::Record measure(experts::WeightType type) {
    Network network(job_, {.precision = experts::Precision::kBfloat16, .expert_type = type});
    if (is_first_) {
      const std::int64_t most = job_.options().given("count") ? job_.options().integer("count") : kRequests;
      work_ = make_request_work(job_, network, most);
      agreed(job_.comm, [&] { expected_ = read_expected(job_, work_.requests.size()); });
    }
    network.load();
    threads_ = network.num_threads();
    kernel_ = network.kernels().name;
    bench::Record record{.bench = "quality", .parameters = {{"model", job_.options().text("model")}, {"dtype", std::string(experts::name_of(type))},
                                                            {"requests", std::ssize(work_.requests)}}};
    const LoadReport load = answer(network);
    if (is_first_) {
      agreed(job_.comm, [&] {
        require(load.failed == 0, ExitCode::kBadInput, "{} of {} requests cannot be answered by this model", load.failed, work_.requests.size());
        states_ = make_states(work_, load.answers);
        require_room(network.config());
      });
    }
    const Stopwatch clock;
    const Difference difference = compare(network);
    record.times_ms = {1e3 * clock.seconds()};
    const auto positions = static_cast<double>(std::max<std::int64_t>(1, difference.positions));
    record.results = {{"positions", difference.positions}, {"top1_agreement", static_cast<double>(difference.same_top) / positions},
                      {"mean_kl", difference.sum / positions}, {"largest_kl", difference.largest}};
    std::int64_t right = 0;
    agreed(job_.comm, [&] { right = expected_.empty() || !job_.comm.is_root() ? 0 : count_right(network, work_, expected_, load); });
    if (!expected_.empty()) {
      record.results.push_back({"right", right});
      record.results.push_back({"questions", std::ssize(expected_)});
    }
    is_first_ = false;
    return record;
  }
  int threads() const { return threads_; }
  std::string kernel() const { return kernel_; }

 private:
  static constexpr std::int64_t kRequests = 8;

  LoadReport answer(Network& network) const {
    const runtime::EngineOptions options{.max_rows = job_.options().integer("max-rows"), .kv_memory_bytes = network.kv_memory_bytes(),
                                         .eos_tokens = work_.special.ends, .mask_token = work_.special.mask};
    return run_load(job_, network, options, work_.requests, std::ssize(work_.requests));
  }

  /// The logits in bf16 stay in memory on rank 0.
  void require_room(const runtime::ModelConfig& config) const {
    std::uint64_t rows = 0;
    for (const State& state : states_) {
      rows += state.masked.size();
    }
    const std::uint64_t needed = rows * static_cast<std::uint64_t>(config.vocab_size) * sizeof(float);
    require(needed <= cluster::available_memory_bytes() / 2, ExitCode::kBadInput,
            "the logits of {} masked positions need {} bytes of memory, more than half of what is available: ask for fewer or shorter answers", rows,
            needed);
  }

  Difference compare(Network& network) {
    Difference difference;
    std::size_t at = 0;
    for_each_masked(job_, network, states_, [&](std::span<const float> logits) {
      if (is_first_) {
        logits_.emplace_back(logits.begin(), logits.end());
      }
      difference.add(logits_[at++], logits);
    });
    return difference;
  }

  const Job& job_;
  bool is_first_ = true;
  RequestWork work_;
  std::vector<std::string> expected_;
  std::vector<State> states_;
  std::vector<std::vector<float>> logits_;  ///< in bf16, of all masked positions
  int threads_ = 1;
  std::string kernel_;
};

experts::WeightType type_of(std::string_view dtype) {
  return dtype == "int8" ? experts::WeightType::kInt8 : dtype == "int4" ? experts::WeightType::kInt4 : experts::WeightType::kBf16;
}

}  // namespace

BenchResult bench_quality(const Job& job) {
  const std::string dtypes = job.options().given("dtype") ? job.options().text("dtype") : "int8,int4";
  agreed(job.comm, [&] {
    require(job.options().given("model") && dtypes.find("f32") == std::string::npos, ExitCode::kUsage,
            "bench quality: expected --model and a list of int8 and int4 as --dtype, which is compared with bf16");
  });
  Quality quality(job);
  BenchResult result;
  result.records.push_back(quality.measure(experts::WeightType::kBf16));
  for (const std::string_view dtype : split_list(dtypes)) {
    if (dtype != "bf16") {
      result.records.push_back(quality.measure(type_of(dtype)));
    }
  }
  result.threads = quality.threads();
  result.kernel = quality.kernel();
  return result;
}

}  // namespace unmask::launcher
