// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace unmask::bench {

/// One named value of a record: a parameter of the case, or something measured.
struct Field {
  using Value = std::variant<std::int64_t, double, std::string, bool>;
  std::string name;
  Value value;
};

/// A part of a case, with the part of the limit that belongs to it.
struct Stage {
  std::string name;
  double ms = 0;        ///< median
  double limit_ms = 0;  ///< 0: this part has no limit of its own
};

/// What the machine allows for a case, measured beside it.
struct Limit {
  std::string kind;  ///< "compute", "read" or "wire"
  double value = 0;  ///< operations or bytes per second
  double ms = 0;     ///< roofline of the case
};

/// The record of one case of a benchmark (DESIGN.md section 7).
struct Record {
  std::string bench;
  std::vector<Field> parameters = {};   ///< of the case, in the order of the table
  std::vector<double> times_ms = {};    ///< one per repetition
  std::optional<Limit> limit = {};
  std::vector<Field> results = {};      ///< beside the time: tokens_per_second, tflops, hidden_fraction, ...
  std::vector<Stage> stages = {};
  std::vector<std::int64_t> experts_touched = {};  ///< by layer
  enum class Results { kUnchecked, kChecked } checked = Results::kUnchecked;  ///< whether they were compared with plain code
};

/// What all records of a run have in common.
struct RunFacts {
  std::string commit;
  std::string cpu;
  std::int64_t ranks = 1;
  std::int64_t threads = 1;
  std::string kernel;
};

/// The value below which `part` of the values lie (0.5: the median), between neighbours by proportion; 0 for no values.
double quantile(std::vector<double> values, double part);

enum class RecordFormat { kMarkdown, kJson, kCsv };
/// "md", "json" or "csv".
RecordFormat record_format(std::string_view name);

/// All records as one text: tables (cases with the same columns share one), an array of objects, or lines of values under a
/// line of names.
std::string format_records(std::span<const Record> records, const RunFacts& facts, RecordFormat format);

}  // namespace unmask::bench
