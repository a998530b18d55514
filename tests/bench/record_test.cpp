// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "bench/record.h"

namespace unmask::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

const RunFacts kFacts{.commit = "abc", .cpu = "A \"fast\", cheap CPU", .ranks = 2, .threads = 3, .kernel = "plain"};

Record some_record(std::int64_t tokens) {
  return {.bench = "gemm",
          .parameters = {{"tokens", tokens}, {"dtype", std::string("bf16")}},
          .times_ms = {4, 1, 2, 3, 5},
          .limit = Limit{.kind = "read", .value = 2e10, .ms = 1.5},
          .results = {{"gb_per_second", 12.5}},
          .stages = {{"gate", 2, 1}, {"other", 1, 0}},
          .experts_touched = {7, 8},
          .checked = Record::Results::kChecked};
}

TEST(Record, QuantilesLieBetweenNeighbours) {
  EXPECT_DOUBLE_EQ(quantile({3, 1, 2}, 0.5), 2);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 2, 3}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile({10, 0}, 0.1), 1);
  EXPECT_DOUBLE_EQ(quantile({1, 2, 3}, 1), 3);
  EXPECT_DOUBLE_EQ(quantile({}, 0.5), 0);
}

TEST(Record, JsonHasTheFieldsOfTheDesign) {
  const auto all = nlohmann::json::parse(format_records(std::vector{some_record(32)}, kFacts, RecordFormat::kJson));
  ASSERT_EQ(all.size(), 1U);
  const auto& one = all[0];
  EXPECT_EQ(one["bench"], "gemm");
  EXPECT_EQ(one["case"]["tokens"], 32);
  EXPECT_EQ(one["median_ms"], 3.0);
  EXPECT_EQ(one["repeats"], 5);
  EXPECT_EQ(one["limit"], "read");
  EXPECT_EQ(one["limit_value"], 2e10);
  EXPECT_EQ(one["limit_ms"], 1.5);
  EXPECT_EQ(one["share"], 0.5);
  EXPECT_EQ(one["gb_per_second"], 12.5);
  EXPECT_EQ(one["stages"][0]["limit_ms"], 1.0);
  EXPECT_EQ(one["experts_touched"], (std::vector{7, 8}));
  EXPECT_EQ(one["checked"], true);
  EXPECT_EQ(one["commit"], "abc");
  EXPECT_EQ(one["ranks"], 2);
  EXPECT_EQ(one["threads"], 3);
  EXPECT_EQ(one["kernel"], "plain");
}

TEST(Record, TablesAreSharedByCasesWithTheSameColumns) {
  std::vector<Record> records = {some_record(1), some_record(8), some_record(8)};
  records[2].results.push_back({"more", true});
  const std::string text = format_records(records, kFacts, RecordFormat::kMarkdown);
  EXPECT_THAT(text, HasSubstr("| tokens | dtype | median_ms | p10_ms | p90_ms | limit | limit_ms | share | gb_per_second | checked |\n"
                              "|---|---|---|---|---|---|---|---|---|---|\n"
                              "| 1 | bf16 | 3 | 1.4 | 4.6 | read | 1.5 | 0.5 | 12.5 | yes |\n| 8 | bf16 |"));
  EXPECT_THAT(text, HasSubstr("| gb_per_second | more | checked |"));
  EXPECT_THAT(text, HasSubstr("| gate | 2 | 1 | 0.50 |\n| other | 1 |  |  |"));
}

TEST(Record, CsvQuotesWhatWouldBreakALine) {
  const std::string text = format_records(std::vector{some_record(1), some_record(2)}, kFacts, RecordFormat::kCsv);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  EXPECT_THAT(text, HasSubstr("\"A \"\"fast\"\", cheap CPU\",2,3,plain\n"));
  EXPECT_THAT(text, HasSubstr("gemm,1,bf16,3.0,"));
}

TEST(Record, ACaseWithoutTimesHasNone) {
  const Record bare{.bench = "limits", .results = {{"median", 12345.678}}};
  EXPECT_THAT(format_records(std::vector{bare}, kFacts, RecordFormat::kJson), Not(HasSubstr("median_ms")));
  EXPECT_THAT(format_records(std::vector{bare}, kFacts, RecordFormat::kMarkdown), HasSubstr("| 12346 | no |"));
}

}  // namespace
}  // namespace unmask::bench
