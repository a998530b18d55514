// SPDX-License-Identifier: Apache-2.0
#include "launcher/run/routing_file.h"

#include <nlohmann/json.hpp>

#include "base/byte_stream.h"
#include "runtime/input_file.h"
#include "runtime/output_file.h"
#include "runtime/strict_json.h"

namespace unmask::launcher {
namespace {

using nlohmann::ordered_json;

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kMaxLineBytes = std::uint64_t{256} << 20;

std::string lines_of(std::span<const std::byte> bytes, Rank rank) {
  ByteReader reader(bytes, rank);
  const auto top_k = reader.get<std::int64_t>();
  const auto layers = reader.get_list<std::int64_t>();  // layer and rows, in turn
  const auto ids = reader.get_list<std::uint16_t>();
  std::string lines;
  auto next = ids.begin();
  for (std::size_t i = 0; i < layers.size(); i += 2) {
    const auto end = next + layers[i + 1] * top_k;
    ordered_json line = {{"rank", rank.value}, {"layer", layers[i]}, {"top_k", top_k}};
    line["ids"] = std::vector<std::uint16_t>(next, end);
    lines += line.dump() + '\n';
    next = end;
  }
  return lines;
}

}  // namespace

void write_routing(const Job& job, const comm::RoutingLog& mine, const std::string& file) {
  ByteWriter writer;
  std::vector<std::int64_t> layers;
  for (const auto& layer : mine.layers) {
    layers.insert(layers.end(), {layer.layer, layer.num_rows});
  }
  const auto all = job.comm.all_gather(writer.put(mine.top_k).put(layers).put(mine.ids).take());
  agreed(job.comm, [&] {
    if (!job.comm.is_root()) {
      return;
    }
    std::string text;
    for (Rank rank(0); rank.value < job.comm.num_ranks(); ++rank) {
      text += lines_of(all[rank.at()], rank);
    }
    runtime::OutputFile out(file);
    out.write(0, std::as_bytes(std::span(text)));
    out.sync();
    out.commit();
    job.log.info("routing of {} ranks: {}", job.comm.num_ranks(), file);
  });
}

std::vector<ExpertId> read_routing_file(const std::string& file, Rank rank, std::int64_t num_experts, std::int64_t top_k) {
  const std::string text = runtime::read_text_file(file, kMaxFileBytes);
  std::vector<ExpertId> ids;
  std::size_t begin = 0;
  for (std::int64_t number = 1; begin < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string what = format("{}, line {}", file, number);
    const auto line = runtime::parse_json_strictly(text.substr(begin, end - begin), what, kMaxLineBytes);
    begin = end + 1;
    require(line.is_object() && line.contains("rank") && line["rank"].is_number_unsigned() && line.contains("top_k") &&
                line["top_k"] == top_k && line.contains("ids") && line["ids"].is_array() && std::cmp_equal(line["ids"].size() % size(top_k), 0),
            ExitCode::kBadInput, "{}: expected rank, top_k {} and that many ids for each row, as --record-routing writes them", what, top_k);
    if (line["rank"].get<std::uint64_t>() != rank.at()) {
      continue;
    }
    for (const auto& id : line["ids"]) {
      const std::size_t place = ids.size() % size(top_k);
      require(id.is_number_unsigned() && std::cmp_less(id.get<std::uint64_t>(), num_experts) &&
                  (place == 0 || id.get<std::int64_t>() > ids.back().value),
              ExitCode::kBadInput, "{}: expected ascending experts below {} in each row, found {}", what, num_experts,
              runtime::describe(id));
      ids.emplace_back(id.get<std::int32_t>());
    }
  }
  require(!ids.empty(), ExitCode::kBadInput, "{} has no rows of rank {}: record with as many ranks as are to replay", file, rank);
  return ids;
}

}  // namespace unmask::launcher
