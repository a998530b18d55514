// SPDX-License-Identifier: Apache-2.0
#include "golden_cases.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <map>

#include <nlohmann/json.hpp>

namespace unmask::testing_data {
namespace {

using Json = nlohmann::json;

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  if (text.empty()) {
    throw std::runtime_error("cannot read " + path.string());
  }
  return text;
}

template <class Stored, class T>
std::vector<T> tensor(const std::string& file, const Json& entry, std::uint64_t data_begin) {
  const auto begin = data_begin + entry["data_offsets"][0].get<std::uint64_t>();
  const auto end = data_begin + entry["data_offsets"][1].get<std::uint64_t>();
  std::vector<Stored> stored((end - begin) / sizeof(Stored));
  std::memcpy(stored.data(), file.data() + begin, end - begin);
  return {stored.begin(), stored.end()};
}

runtime::SamplingOptions options_of(const Json& json) {
  static const std::map<std::string, runtime::DecoderKind> decoders = {
      {"steps", runtime::DecoderKind::kSteps},   {"threshold", runtime::DecoderKind::kThreshold},
      {"factor", runtime::DecoderKind::kFactor}, {"credit", runtime::DecoderKind::kCredit},
      {"hierarchy", runtime::DecoderKind::kHierarchy}};
  static const std::map<std::string, runtime::CachePolicy> caches = {{"none", runtime::CachePolicy::kNone},
                                                                     {"prefix", runtime::CachePolicy::kPrefix},
                                                                     {"dual", runtime::CachePolicy::kDual},
                                                                     {"vicinity", runtime::CachePolicy::kVicinity}};
  return {.gen_length = json["gen_length"],
          .block_length = json["block_length"],
          .decoder = decoders.at(json["decoder"]),
          .steps = json["steps"].get<std::int64_t>(),
          .threshold = json["threshold"],
          .factor = json["factor"],
          .low_threshold = json["low_threshold"],
          .credit_decay = json["credit_decay"],
          .credit_power = json["credit_power"],
          .credit_weight = json["credit_weight"],
          .cache = caches.at(json["cache"]),
          .look_before = json["look_before"],
          .look_after = json["look_after"],
          .warmup = json["warmup"],
          .temperature = json.value("temperature", 0.0),
          .remasking = json.value("remasking", "") == "random" ? runtime::Remasking::kRandom : runtime::Remasking::kLowConfidence,
          .cfg_scale = json.value("cfg_scale", 0.0),
          .seed = json.value("seed", std::uint64_t{0}),
          .stop_at_eos = json["stop_at_eos"],
          .smoothing = json.value("smoothing", false),
          .smoothing_weight = json.value("smoothing_weight", 0.15),
          .smoothing_growth = json.value("smoothing_growth", 0.02),
          .smoothing_cap = json.value("smoothing_cap", 0.3),
          .threshold_decay = json.value("threshold_decay", 0.02)};
}

DecodeCase read_case(const Json& prompt, const Json& result) {
  DecodeCase c;
  c.request.prompt = prompt.get<std::vector<TokenId>>();
  c.request.options = options_of(result["options"]);
  c.tokens = result["tokens"].get<std::vector<TokenId>>();
  c.passes = result["passes"];
  c.rows = result["rows"];
  if (result.contains("trace")) {
    for (const auto& step : result["trace"]) {
      runtime::TraceStep t{step["block"], step["window"][0], step["window"][1], {}};
      for (const auto& u : step["unmasked"]) {
        t.unmasked.push_back({u[0], u[1], u[2]});
      }
      c.trace.push_back(t);
    }
  }
  if (result.contains("text")) {
    c.text = result["text"];
  }
  return c;
}

}  // namespace

std::vector<LogitsCase> read_logits_cases(const std::filesystem::path& path) {
  const std::string file = read_file(path);
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  const auto header = Json::parse(file.substr(8, header_bytes));
  std::vector<LogitsCase> cases;
  for (int i = 0; header.contains("tokens." + std::to_string(i)); ++i) {
    const auto entry = [&](const std::string& name) { return header[name + "." + std::to_string(i)]; };
    cases.push_back({tensor<std::int64_t, TokenId>(file, entry("tokens"), 8 + header_bytes),
                     tensor<float, float>(file, entry("logits"), 8 + header_bytes),
                     tensor<std::int64_t, std::int64_t>(file, entry("router_counts"), 8 + header_bytes)});
  }
  return cases;
}

std::vector<DecodeCase> read_decode_cases(const std::filesystem::path& path) {
  std::vector<DecodeCase> cases;
  for (const auto& row : Json::parse(read_file(path))) {
    if (!row.contains("results")) {
      cases.push_back(read_case(row["prompt"], row));
      cases.back().request.id = row.value("id", "");
      continue;
    }
    for (const auto& result : row["results"]) {
      cases.push_back(read_case(row["prompt"], result));
      cases.back().answer = row["answer"];
    }
  }
  for (std::size_t i = 0; i < cases.size(); ++i) {
    cases[i].request.number = static_cast<std::int64_t>(i);
    if (cases[i].request.id.empty()) {
      cases[i].request.id = std::to_string(i);
    }
  }
  return cases;
}

}  // namespace unmask::testing_data
