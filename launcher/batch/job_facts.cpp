// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/job_facts.h"

#include <unistd.h>

#include <chrono>
#include <set>

#include <nlohmann/json.hpp>

#include "base/byte_stream.h"
#include "cluster/pinning.h"
#include "launcher/run/version.h"
#include "runtime/fingerprint.h"
#include "runtime/input_file.h"

namespace unmask::launcher {
namespace {

constexpr std::uint64_t kMaxTextFileBytes = std::uint64_t{1} << 30;

/// Of the files that turn text into tokens and back.
std::string text_fingerprint(const runtime::ModelFiles& files) {
  runtime::Fingerprint all;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"}) {
    all.add(files.has(name) ? files.read(name, kMaxTextFileBytes) : "");
  }
  return all.text();
}

/// Where the threads of a team may run, all of them together: the first one alone, which asks, may be pinned to a core of its own.
std::string units_of(ThreadTeam& team) {
  std::vector<std::vector<int>> units(size(team.size()));
  team.run([&](int member) { units[size(member)] = cluster::units_of_thread(); });
  std::set<int> all;
  for (const auto& of_one : units) {
    all.insert(of_one.begin(), of_one.end());
  }
  return all.empty() ? "?" : cluster::list_cores(std::vector<int>(all.begin(), all.end()));
}

}  // namespace

JobFacts job_facts(const Job& job, const Network& network) {
  const OptionValues& options = job.options();
  JobFacts out;
  const auto add = [&](std::string name, std::string value) { out.facts.emplace_back(std::move(name), std::move(value)); };
  add("model", network.fingerprint());
  add("weights", network.fingerprint_of_weights());
  add("tokenizer and template", text_fingerprint(network.files()));
  add("--dtype", options.text("dtype"));
  add("--device", std::string(network.device()));
  add("--kernel", std::string(network.kernels().name));
  add("order", options.is_on("unordered") ? "any" : "input");
  for (const OptionSpec& spec : option_table()) {
    const bool reaches_answers = spec.group == OptionGroup::kSampling || spec.name == "raw" || spec.name == "special" || spec.name == "system" ||
                                 spec.name == "combine";
    if (reaches_answers && spec.commands.has(Command::kBatch)) {
      add(format("--{}", spec.name), format("{}", fmt::join(options.texts(spec.name), " | ")));
    }
  }
  return out;
}

std::string run_json(const Job& job, const Network& network) {
  auto out = nlohmann::ordered_json::object();
  out["began"] = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  out["host"] = job.comm.host();
  out["pid"] = ::getpid();
  out["ranks"] = job.comm.num_ranks();
  out["threads"] = network.num_threads();
  out["version"] = version_line();
  return out.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

void log_rank_map(const Job& job, Network& network) {
  ByteWriter mine;
  mine.put(job.comm.host()).put(std::int64_t{::getpid()}).put(std::int64_t{network.num_threads()}).put(units_of(network.team()));
  std::int64_t rank = 0;
  for (const auto& bytes : job.comm.all_gather(mine.take())) {
    ByteReader reader(bytes);
    const std::string host = reader.get_text();
    const auto pid = reader.get<std::int64_t>();
    const auto threads = reader.get<std::int64_t>();
    if (job.comm.is_root()) {  // with --log-ranks all, too: once is enough
      job.log.info("rank {}: host {}, process {}, {} threads on processing units {}", rank, host, pid, threads, reader.get_text());
    }
    ++rank;
  }
}

}  // namespace unmask::launcher
