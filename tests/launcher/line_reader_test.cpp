// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/error.h"
#include "launcher/io/in_order.h"
#include "launcher/io/json_line.h"
#include "launcher/io/line_reader.h"
#include "launcher/io/output.h"

namespace unmask::launcher {
namespace {

/// What a reader makes of these bytes, written to a pipe in pieces of `piece`.
std::vector<LineReader::Line> lines_of(const std::string& bytes, std::size_t piece) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  std::thread writer([&] {
    for (std::size_t i = 0; i < bytes.size(); i += piece) {
      Output(ends[1]).write(std::string_view(bytes).substr(i, piece));
    }
    ::close(ends[1]);
  });
  LineReader reader(ends[0], "test");
  std::vector<LineReader::Line> lines;
  while (auto line = reader.next()) {
    lines.push_back(std::move(*line));
  }
  writer.join();
  ::close(ends[0]);
  return lines;
}

TEST(LineReader, LinesHoweverTheyArrive) {
  const std::string bytes = "one\n\n" + std::string(200000, 'x') + "\r\nlast";
  for (const std::size_t piece : {std::size_t{1} << 20, std::size_t{4096}, std::size_t{7}}) {
    const auto lines = lines_of(bytes, piece);
    ASSERT_EQ(lines.size(), 4U);
    EXPECT_EQ(lines[0].text, "one");
    EXPECT_EQ(lines[1].text, "");
    EXPECT_EQ(lines[2].text, std::string(200000, 'x') + '\r') << "a carriage return belongs to the text";
    EXPECT_EQ(lines[3].text, "last");
    EXPECT_EQ(lines[3].number, 4);
  }
  EXPECT_TRUE(lines_of("", 1).empty());
  EXPECT_EQ(lines_of("\n", 1).size(), 1U);
}

TEST(LineReader, AnEndlessLineDoesNotFillTheMemory) {
  const auto lines = lines_of("a\n" + std::string(LineReader::kLongestLine + 70000, 'x') + "\nb\n", std::size_t{1} << 20);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_TRUE(lines[1].too_long);
  EXPECT_TRUE(lines[1].text.empty());
  EXPECT_EQ(lines[2].text, "b");
  EXPECT_FALSE(lines[2].too_long);
  EXPECT_EQ(lines[2].number, 3);
}

TEST(Output, AFullDiskIsAnErrorAndAClosedPipeAQuietOne) {
  const int full = ::open("/dev/full", O_WRONLY);
  ASSERT_GE(full, 0);
  try {
    Output(full).write("x");
    ADD_FAILURE() << "wrote to a full device";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kIo);
    EXPECT_STRNE(error.what(), "");
  }
  ::close(full);
  std::signal(SIGPIPE, SIG_IGN);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  try {
    Output(ends[1]).write("x");
    ADD_FAILURE() << "wrote to a closed pipe";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kIo);
    EXPECT_STREQ(error.what(), "");
  }
  ::close(ends[1]);
}

TEST(InOrder, ThingsLeaveByNumber) {
  InOrder<std::string> order;
  order.put(2, "c");
  order.put(1, "b");
  EXPECT_FALSE(order.next().has_value());
  order.put(0, "a");
  EXPECT_EQ(order.next(), "a");
  EXPECT_EQ(order.next(), "b");
  EXPECT_EQ(order.next(), "c");
  EXPECT_FALSE(order.next().has_value());
  EXPECT_EQ(order.num_left(), 3);
}

TEST(JsonLine, EscapesTheLineEndsThatOnlyUnicodeKnows) {
  EXPECT_EQ(as_json_line("\"a\xE2\x80\xA8\xE2\x80\xA9\xC2\x85z\""), "\"a\\u2028\\u2029\\u0085z\"");
  EXPECT_EQ(as_json_line("\"\xE2\x80\xA6 \xC3\x85 \xE3\x80\xA8\""), "\"\xE2\x80\xA6 \xC3\x85 \xE3\x80\xA8\"");  // neighbours of theirs
}

}  // namespace
}  // namespace unmask::launcher
