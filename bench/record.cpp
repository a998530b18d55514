// SPDX-License-Identifier: Apache-2.0
#include "bench/record.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace unmask::bench {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Field::Value& value) {
  return std::visit([](const auto& one) { return Json(one); }, value);
}

Json to_json(const Record& record, const RunFacts& facts) {
  Json out = {{"bench", record.bench}, {"case", Json::object()}};
  for (const auto& [name, value] : record.parameters) {
    out["case"][name] = to_json(value);
  }
  if (!record.times_ms.empty()) {
    out["median_ms"] = quantile(record.times_ms, 0.5);
    out["p10_ms"] = quantile(record.times_ms, 0.1);
    out["p90_ms"] = quantile(record.times_ms, 0.9);
    out["repeats"] = record.times_ms.size();
  }
  if (record.limit) {
    out["limit"] = record.limit->kind;
    out["limit_value"] = record.limit->value;
    out["limit_ms"] = record.limit->ms;
    if (!record.times_ms.empty()) {
      out["share"] = record.limit->ms / quantile(record.times_ms, 0.5);
    }
  }
  for (const auto& [name, value] : record.results) {
    out[name] = to_json(value);
  }
  if (!record.stages.empty()) {
    out["stages"] = Json::array();
    for (const Stage& stage : record.stages) {
      out["stages"].push_back({{"name", stage.name}, {"ms", stage.ms}, {"limit_ms", stage.limit_ms}});
    }
  }
  if (!record.experts_touched.empty()) {
    out["experts_touched"] = record.experts_touched;
  }
  out["checked"] = record.checked == Record::Results::kChecked;
  out["commit"] = facts.commit;
  out["cpu"] = facts.cpu;
  out["ranks"] = facts.ranks;
  out["threads"] = facts.threads;
  out["kernel"] = facts.kernel;
  return out;
}

/// Four significant digits say more than the noise of any machine.
std::string shown(const Field::Value& value) {
  if (const double* number = std::get_if<double>(&value)) {
    return std::abs(*number) >= 1e4 && std::abs(*number) < 1e15 ? format("{:.0f}", *number) : format("{:.4g}", *number);
  }
  if (const bool* truth = std::get_if<bool>(&value)) {
    return *truth ? "yes" : "no";
  }
  return std::visit([](const auto& one) { return format("{}", one); }, value);
}

/// The columns of a record in the tables: its case, its times, its limit, its results.
std::vector<Field> columns(const Record& record) {
  std::vector<Field> out = record.parameters;
  if (!record.times_ms.empty()) {
    out.push_back({"median_ms", quantile(record.times_ms, 0.5)});
    out.push_back({"p10_ms", quantile(record.times_ms, 0.1)});
    out.push_back({"p90_ms", quantile(record.times_ms, 0.9)});
  }
  if (record.limit) {
    out.push_back({"limit", record.limit->kind});
    out.push_back({"limit_ms", record.limit->ms});
    if (!record.times_ms.empty()) {
      out.push_back({"share", record.limit->ms / quantile(record.times_ms, 0.5)});
    }
  }
  out.insert(out.end(), record.results.begin(), record.results.end());
  out.push_back({"checked", record.checked == Record::Results::kChecked});
  return out;
}

bool same_columns(const std::vector<Field>& a, const std::vector<Field>& b) {
  return std::ranges::equal(a, b, {}, &Field::name, &Field::name);
}

template <class Text>
std::string joined(const std::vector<Field>& fields, std::string_view between, Text text) {
  std::string out;
  for (const Field& field : fields) {
    out += out.empty() ? text(field) : format("{}{}", between, text(field));
  }
  return out;
}

void append_stages(std::string& out, const Record& record) {
  if (record.stages.empty()) {
    return;
  }
  out += format("\n{}: {}\n\n| stage | ms | limit ms | share |\n|---|---|---|---|\n", record.bench,
                joined(record.parameters, ", ", [](const Field& one) { return format("{} {}", one.name, shown(one.value)); }));
  for (const Stage& stage : record.stages) {
    const bool limited = stage.limit_ms > 0 && stage.ms > 0;
    out += format("| {} | {:.4g} | {} | {} |\n", stage.name, stage.ms, limited ? format("{:.4g}", stage.limit_ms) : "",
                  limited ? format("{:.2f}", stage.limit_ms / stage.ms) : "");
  }
}

std::string markdown(std::span<const Record> records, const RunFacts& facts) {
  std::string out = format("{}; {} ranks with {} threads, kernels {}; commit {}\n", facts.cpu, facts.ranks, facts.threads, facts.kernel,
                           facts.commit);
  std::vector<Field> last;
  std::string bench;
  for (const Record& record : records) {
    const auto fields = columns(record);
    if (record.bench != bench || !same_columns(fields, last)) {
      out += format("\n{}\n\n| {} |\n|", record.bench, joined(fields, " | ", [](const Field& one) { return one.name; }));
      for (std::size_t i = 0; i < fields.size(); ++i) {
        out += "---|";
      }
      out += '\n';
    }
    out += format("| {} |\n", joined(fields, " | ", [](const Field& one) { return shown(one.value); }));
    last = fields;
    bench = record.bench;
  }
  for (const Record& record : records) {
    append_stages(out, record);
  }
  return out;
}

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) {
    return text;
  }
  std::string out = "\"";
  for (const char c : text) {
    out += c == '"' ? "\"\"" : std::string(1, c);
  }
  return out + '"';
}

std::string csv(std::span<const Record> records, const RunFacts& facts) {
  std::string out;
  std::vector<Field> last;
  for (const Record& record : records) {
    std::vector<Field> fields = {{"bench", record.bench}};
    const auto measured = columns(record);
    fields.insert(fields.end(), measured.begin(), measured.end());
    for (const Field& fact : {Field{"commit", facts.commit}, Field{"cpu", facts.cpu}, Field{"ranks", facts.ranks},
                              Field{"threads", facts.threads}, Field{"kernel", facts.kernel}}) {
      fields.push_back(fact);
    }
    if (!same_columns(fields, last)) {
      out += joined(fields, ",", [](const Field& one) { return quoted(one.name); }) + '\n';
    }
    out += joined(fields, ",", [](const Field& one) { return quoted(to_json(one.value).is_string() ? std::get<std::string>(one.value)
                                                                                                  : to_json(one.value).dump()); }) + '\n';
    last = fields;
  }
  return out;
}

}  // namespace

double quantile(std::vector<double> values, double part) {
  if (values.empty()) {
    return 0;
  }
  std::ranges::sort(values);
  const double place = part * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

RecordFormat record_format(std::string_view name) {
  UNMASK_CHECK(name == "md" || name == "json" || name == "csv", "format '{}'", name);
  return name == "md" ? RecordFormat::kMarkdown : name == "json" ? RecordFormat::kJson : RecordFormat::kCsv;
}

std::string format_records(std::span<const Record> records, const RunFacts& facts, RecordFormat format) {
  if (format == RecordFormat::kMarkdown) {
    return markdown(records, facts);
  }
  if (format == RecordFormat::kCsv) {
    return csv(records, facts);
  }
  Json out = Json::array();
  for (const Record& record : records) {
    out.push_back(to_json(record, facts));
  }
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace unmask::bench
