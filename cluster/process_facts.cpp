// SPDX-License-Identifier: Apache-2.0
#include "cluster/process_facts.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>

#include "base/format.h"

namespace unmask::cluster {
namespace {

constexpr std::array<std::string_view, 4> kJobLaunchers = {"mpirun", "mpiexec", "orterun", "prterun"};
constexpr std::array<std::string_view, 6> kDaemons = {"orted", "prted", "srun", "slurmstepd", "hydra_pmi_proxy", "hydra_bstrap"};

bool is_one_of(std::string_view name, const auto& names) {
  return std::ranges::any_of(names, [&](std::string_view known) { return name.starts_with(known); });
}

std::uint64_t number_of(std::string_view text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

struct Stat {
  std::string name;
  char state = '?';
  pid_t parent = 0;
  std::uint64_t page_faults = 0;
  std::uint64_t start_ticks = 0;
};

/// /proc/ID/stat: "ID (name) state parent ...", minor and major faults in fields 10 and 12, the start time in field 22; the name
/// may hold blanks and parentheses. Nothing where the process is gone, or goes before it is read.
std::optional<Stat> read_stat(pid_t id) {
  std::ifstream file(format("/proc/{}/stat", id));
  std::string text;
  std::getline(file, text, '\0');  // unlike a stream's buffer, it does not throw where reading fails
  const auto open = text.find('(');
  const auto close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) {
    return std::nullopt;
  }
  Stat stat{.name = text.substr(open + 1, close - open - 1)};
  std::istringstream fields(text.substr(close + 1));
  fields >> stat.state >> stat.parent;
  for (int field = 5; field <= 22; ++field) {
    std::string value;
    fields >> value;
    if (field == 10 || field == 12) {
      stat.page_faults += number_of(value);
    } else if (field == 22) {
      stat.start_ticks = number_of(value);
    }
  }
  return fields ? std::optional(stat) : std::nullopt;
}

}  // namespace

bool Process::serves_one_job() const { return is_one_of(name, kJobLaunchers); }

std::optional<Process> find_launcher(pid_t rank) {
  const auto me = read_stat(rank);
  for (pid_t id = me ? me->parent : 0; id > 1;) {
    const auto stat = read_stat(id);
    if (!stat) {
      break;
    }
    if (is_one_of(stat->name, kJobLaunchers) || is_one_of(stat->name, kDaemons)) {
      return Process{id, stat->start_ticks, stat->name};
    }
    id = stat->parent;
  }
  const auto parent = me && launched_rank() && me->parent > 1 ? read_stat(me->parent) : std::nullopt;
  return parent ? std::optional(Process{me->parent, parent->start_ticks, parent->name}) : std::nullopt;
}

std::optional<std::int32_t> launched_rank() {
  for (const char* variable : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (const char* text = std::getenv(variable)) {
      return static_cast<std::int32_t>(number_of(text));
    }
  }
  return std::nullopt;
}

bool is_alive(const Process& process) {
  const auto stat = read_stat(process.id);
  return stat && stat->start_ticks == process.start_ticks && stat->state != 'Z' && stat->state != 'X';
}

Activity activity_of(pid_t process) {
  const auto stat = read_stat(process);
  return stat ? Activity{stat->state, stat->page_faults} : Activity{};
}

}  // namespace unmask::cluster
