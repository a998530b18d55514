// SPDX-License-Identifier: Apache-2.0
#include "launcher/generate/answer_json.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "launcher/io/json_line.h"

namespace unmask::launcher {
namespace {

using Json = nlohmann::ordered_json;

Json trace_json(const std::vector<runtime::TraceStep>& trace) {
  Json out = Json::array();
  for (const runtime::TraceStep& step : trace) {
    Json unmasked = Json::array();
    for (const runtime::Unmasked& u : step.unmasked) {
      Json entry = Json::array();
      entry.push_back(u.position);
      entry.push_back(u.token);
      entry.push_back(std::round(static_cast<double>(u.confidence) * 1e6) / 1e6);
      unmasked.push_back(std::move(entry));
    }
    Json object = Json::object();
    object["block"] = step.block;
    object["window"] = std::vector<std::int64_t>{step.window_begin, step.window_end};
    object["unmasked"] = std::move(unmasked);
    out.push_back(std::move(object));
  }
  return out;
}

double rate(std::int64_t count, double per) { return per > 0 ? static_cast<double>(count) / per : 0; }

Json run_json(const RunReport& run) {
  Json out = Json::object();
  out["seconds"] = Json::object();
  out["seconds"]["load"] = run.load_seconds;
  out["seconds"]["decode"] = run.decode_seconds;
  out["tokens_per_second"] = rate(run.text_tokens, run.decode_seconds);
  out["tokens_per_pass"] = rate(run.text_tokens, static_cast<double>(run.passes));
  out["ranks"] = run.bytes_read.size();
  out["threads"] = run.num_threads;
  out["dtype"] = run.dtype;
  out["kernel"] = run.kernel;
  out["wire_bytes"] = run.exchange.wire_bytes;
  const ExchangeReport& exchange = run.exchange;
  out["exchange"] = {{"minimum_bytes", exchange.minimum_bytes},
                     {"naive_bytes", exchange.naive_bytes},
                     {"experts_ms_per_step", exchange.experts_ms_per_step},
                     {"exposed_ms_per_step", exchange.exposed_ms_per_step},
                     {"hidden_fraction", exchange.hidden_fraction},
                     {"rank_imbalance", exchange.rank_imbalance},
                     {"expert_imbalance", exchange.expert_imbalance}};
  out["bytes_read"] = run.bytes_read;
  out["peak_memory_bytes"] = run.peak_memory_bytes;
  return out;
}

}  // namespace

std::string answer_json(const AnswerLine& line, const RunReport* run) {
  Json out = Json::object();
  out["id"] = Json::parse(line.id_json);
  if (line.answer.error) {
    out["error"] = Json::object();
    out["error"]["code"] = static_cast<int>(line.answer.error->code());
    out["error"]["message"] = line.answer.error->what();
  } else {
    out["text"] = line.text.text;
    out["tokens"] = line.answer.tokens;
    out["prompt_tokens"] = line.prompt;
    out["passes"] = line.answer.passes;
    out["rows"] = line.answer.rows;
    out["finish_reason"] = line.text.finish_reason == runtime::FinishReason::kStop ? "stop" : "length";
    if (line.trace == AnswerLine::Trace::kPrint) {
      out["trace"] = trace_json(line.answer.trace);
    }
  }
  if (run != nullptr) {
    out["run"] = run_json(*run);
  }
  return as_json_line(out.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace unmask::launcher
