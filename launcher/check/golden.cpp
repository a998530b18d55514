// SPDX-License-Identifier: Apache-2.0
#include "launcher/check/golden.h"

#include <cstring>

#include <nlohmann/json.hpp>

#include "launcher/text/request_line.h"
#include "runtime/safetensors.h"
#include "runtime/strict_json.h"

namespace unmask::launcher {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxDecodeBytes = std::uint64_t{256} << 20;

template <class T>
std::vector<T> read_tensor(const runtime::SafetensorsFile& file, const std::string& name, std::string_view dtype) {
  const auto at = file.tensors.find(name);
  require(at != file.tensors.end() && at->second.dtype.name == dtype, ExitCode::kBadInput, "{}: expected a tensor {} of {}, found {}",
          file.file.path().string(), name, dtype, at == file.tensors.end() ? "none" : at->second.dtype.name);
  std::vector<T> values(at->second.num_bytes() / sizeof(T));
  file.file.read(at->second.begin, std::as_writable_bytes(std::span(values)));
  return values;
}

/// The case as a request line, so that its options pass the same checks.
RequestInput request_of(const json& one) {
  json line = one.at("options");
  line["prompt_tokens"] = one.at("prompt");
  return parse_request_line(line.dump(), 0);
}

GoldenDecodes::Case read_case(const json& one, RequestInput input) {
  GoldenDecodes::Case out;
  out.request.prompt = std::move(input.tokens);
  out.request.sampling = std::move(input.sampling);
  out.tokens = one.at("tokens").get<std::vector<TokenId>>();
  out.passes = one.at("passes").get<std::int64_t>();
  out.rows = one.at("rows").get<std::int64_t>();
  for (const json& step : one.at("trace")) {
    auto& expected = out.steps.emplace_back();
    expected.window = step.at("window").get<std::vector<std::int64_t>>();
    for (const json& unmasked : step.at("unmasked")) {
      expected.positions.push_back(unmasked.at(0).get<std::int64_t>());
    }
  }
  return out;
}

}  // namespace

std::vector<GoldenLogits> read_golden_logits(const std::filesystem::path& folder, std::int64_t vocab) {
  const auto path = folder / "logits.safetensors";
  if (std::error_code error; !std::filesystem::exists(path, error)) {
    return {};
  }
  const runtime::SafetensorsFile file(path);
  std::vector<GoldenLogits> cases;
  for (int i = 0; file.tensors.contains(format("tokens.{}", i)); ++i) {
    GoldenLogits& one = cases.emplace_back();
    for (const std::int64_t token : read_tensor<std::int64_t>(file, format("tokens.{}", i), "I64")) {
      one.tokens.push_back(std::in_range<TokenId>(token) ? static_cast<TokenId>(token) : -1);
    }
    one.logits = read_tensor<float>(file, format("logits.{}", i), "F32");
    one.router_counts = read_tensor<std::int64_t>(file, format("router_counts.{}", i), "I64");
    require(one.logits.size() == one.tokens.size() * size(vocab), ExitCode::kBadInput, "{}: expected logits.{} of {} values, found {}",
            path.string(), i, one.tokens.size() * size(vocab), one.logits.size());
  }
  return cases;
}

GoldenDecodes read_golden_decodes(const std::filesystem::path& folder) {
  const auto path = folder / "decode.json";
  GoldenDecodes out;
  if (std::error_code error; !std::filesystem::exists(path, error)) {
    return out;
  }
  const json all = runtime::parse_json_strictly(runtime::read_text_file(path, kMaxDecodeBytes), path.string(), kMaxDecodeBytes);
  try {
    for (const json& one : all) {
      RequestInput input = request_of(one);
      if (input.error) {
        ++out.num_left_out;
        continue;
      }
      out.cases.push_back(read_case(one, std::move(input)));
      out.cases.back().request.number = static_cast<std::int64_t>(out.cases.size()) - 1;
      out.cases.back().request.id = one.value("id", std::to_string(out.cases.size()));
    }
  } catch (const json::exception& error) {
    fail(ExitCode::kBadInput, "{}: expected a list of {{prompt, options, tokens, passes, rows, trace}}: {}", path.string(), error.what());
  }
  return out;
}

}  // namespace unmask::launcher
