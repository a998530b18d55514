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
  out["device"] = run.device;
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

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

/// Written member by member: lists of ids are most of an answer, and as JSON values they took most of its time.
std::string answer_json(const AnswerLine& line, const RunReport* run) {
  std::string out = format(R"({{"id":{})", line.id_json);
  if (line.answer.error) {
    out += format(R"(,"error":{{"code":{},"message":{}}})", static_cast<int>(line.answer.error->code()), dump(line.answer.error->what()));
  } else {
    out += format(R"(,"text":{},"tokens":[{}],"prompt_tokens":[{}],"passes":{},"rows":{},"finish_reason":"{}")", dump(line.text.text),
                  fmt::join(line.answer.tokens, ","), fmt::join(line.prompt, ","), line.answer.passes, line.answer.rows,
                  line.text.finish_reason == runtime::FinishReason::kStop ? "stop" : "length");
    if (line.trace == AnswerLine::Trace::kPrint) {
      out += format(R"(,"trace":{})", dump(trace_json(line.answer.trace)));
    }
  }
  if (run != nullptr) {
    out += format(R"(,"run":{})", dump(run_json(*run)));
  }
  return as_json_line(out + "}");
}

}  // namespace unmask::launcher
