// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include <nlohmann/json.hpp>

#include "launcher/run/network.h"
#include "runtime/input_file.h"
#include "runtime/strict_json.h"

namespace unmask::launcher {

cluster::Placement read_placement(const std::string& option, std::int64_t num_experts, std::int64_t num_ranks) {
  if (option == "even") {
    return cluster::Placement::even(num_experts, num_ranks);
  }
  constexpr std::uint64_t kMaxBytes = std::uint64_t{16} << 20;
  const auto list = runtime::parse_json_strictly(runtime::read_text_file(option, kMaxBytes), option, kMaxBytes);
  require(list.is_array() && std::cmp_equal(list.size(), num_experts), ExitCode::kUsage,
          "--placement {}: expected an array with the rank of each of the {} experts, found {}", option, num_experts,
          runtime::describe(list));
  std::vector<Rank> owner;
  for (const auto& rank : list) {
    require(rank.is_number_unsigned() && std::cmp_less(rank.get<std::uint64_t>(), num_ranks), ExitCode::kUsage,
            "--placement {}: expected ranks from 0 to {}, found {}", option, num_ranks - 1, runtime::describe(rank));
    owner.emplace_back(rank.get<std::int32_t>());
  }
  return cluster::Placement(std::move(owner), num_ranks);
}

const experts::KernelFamily& agree_on_kernels(const Job& job, experts::Precision precision) {
  const experts::KernelFamily* family = nullptr;
  as_agreed([&] { family = &runtime::agree_on_kernels(job.comm, job.options().text("kernel"), precision, &job.log); });
  return *family;
}

int agree_on_threads(const Job& job) {
  const int share = runtime::share_of_cores(job.comm, &job.log);
  return job.options().given("threads") ? narrow<int>(job.options().integer("threads")) : share;
}

cluster::Pin pin_team(const Job& job, ThreadTeam& team) {
  return job.options().text("pin") == "off" ? cluster::Pin() : runtime::pin_team(job.comm, team, &job.log);
}

runtime::MicroBatching::Count micro_batches(const OptionValues& options) {
  using Count = runtime::MicroBatching::Count;
  const std::string count = options.text("micro-batches");
  return count == "1" ? Count::kOne : count == "2" ? Count::kTwo : Count::kAuto;
}

comm::ExchangeOptions exchange_options(const OptionValues& options) {
  const std::string algorithm = options.text("exchange");
  return {.combine = options.text("combine") == "fast" ? comm::Combine::kFast : comm::Combine::kExact,
          .overlap = options.is_on("overlap") ? comm::Overlap::kOn : comm::Overlap::kOff,
          .algorithm = algorithm == "direct"      ? comm::Algorithm::kDirect
                       : algorithm == "allgather" ? comm::Algorithm::kAllGather
                                                  : comm::Algorithm::kAuto,
          .min_message_bytes = options.integer("message-bytes")};
}

}  // namespace unmask::launcher
