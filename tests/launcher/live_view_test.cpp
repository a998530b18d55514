// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "launcher/view/live_view.h"

namespace unmask::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

/// Understands just what a frame painter may write, and fails on anything else. One column per code point.
class FakeTerminal {
 public:
  explicit FakeTerminal(std::size_t columns) : columns_(columns) {}

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      if (bytes.starts_with("\x1b[")) {
        const std::size_t end = bytes.find_first_not_of("0123456789;?", 2);
        ASSERT_NE(end, std::string_view::npos);
        control(bytes[end], std::string(bytes.substr(2, end - 2)));
        bytes.remove_prefix(end + 1);
      } else if (bytes.front() == '\n') {
        ++row_;
        column_ = 0;
        bytes.remove_prefix(1);
      } else if (bytes.front() == '\r') {
        column_ = 0;
        bytes.remove_prefix(1);
      } else {
        std::size_t length = 1;
        while (length < bytes.size() && (static_cast<unsigned char>(bytes[length]) & 0xC0U) == 0x80) {
          ++length;
        }
        ASSERT_GE(static_cast<unsigned char>(bytes.front()), 0x20) << "a raw control character";
        ASSERT_LT(column_, columns_ - 1) << "the terminal would wrap by itself";
        line(row_).resize(std::max(line(row_).size(), column_ + 1), " ");
        line(row_)[column_++] = std::string(bytes.substr(0, length));
        bytes.remove_prefix(length);
      }
    }
  }

  std::vector<std::string> screen() const {
    std::vector<std::string> out;
    for (const auto& cells : lines_) {
      std::string text;
      for (const std::string& cell : cells) {
        text += cell;
      }
      out.push_back(text);
    }
    while (!out.empty() && out.back().empty()) {
      out.pop_back();
    }
    return out;
  }
  bool cursor_shown() const { return cursor_shown_; }
  bool coloured() const { return coloured_; }

 private:
  std::vector<std::string>& line(std::size_t row) {
    lines_.resize(std::max(lines_.size(), row + 1));
    return lines_[row];
  }
  void control(char what, const std::string& number) {
    switch (what) {
      case 'A':
        ASSERT_LE(static_cast<std::size_t>(std::stoi(number)), row_) << "above the top";
        row_ -= static_cast<std::size_t>(std::stoi(number));
        break;
      case 'K':
        line(row_).resize(std::min(line(row_).size(), column_));
        break;
      case 'J':
        lines_.resize(std::min(lines_.size(), row_ + 1));
        if (row_ < lines_.size()) {
          line(row_).resize(std::min(line(row_).size(), column_));
        }
        break;
      case 'm':
        coloured_ = number != "0";
        break;
      case 'l':
      case 'h':
        ASSERT_EQ(number, "?25");
        cursor_shown_ = what == 'h';
        break;
      default:
        FAIL() << "unknown control " << what;
    }
  }

  std::size_t columns_;
  std::size_t row_ = 0;
  std::size_t column_ = 0;
  std::vector<std::vector<std::string>> lines_;
  bool cursor_shown_ = true;
  bool coloured_ = false;
};

/// Token t is the letter 'a' + t.
std::vector<std::string> letters(std::span<const TokenId> tokens) {
  std::vector<std::string> out;
  for (const TokenId t : tokens) {
    out.emplace_back(1, static_cast<char>('a' + t));
  }
  return out;
}

std::string plain(const std::vector<ScreenLine>& lines) {
  std::string out;
  for (const ScreenLine& line : lines) {
    out += line.text + "|";
  }
  return out;
}

TEST(Layout, BreaksByColumnsAndKeepsCharactersWhole) {
  const auto one = [](const char* text, int width) { return plain(lay_out(std::vector<Piece>{{.text = text}}, width, Colour::kOff)); };
  EXPECT_EQ(one("abcdefghij", 8), "abcdefgh|ij|");
  EXPECT_EQ(one("ab\ncd", 8), "ab|cd|");
  EXPECT_EQ(one("", 8), "|");
  EXPECT_EQ(one("\xE4\xBD\xA0\xE4\xBD\xA0\xE4\xBD\xA0\xE4\xBD\xA0\xE4\xBD\xA0", 9),
            "\xE4\xBD\xA0\xE4\xBD\xA0\xE4\xBD\xA0\xE4\xBD\xA0|\xE4\xBD\xA0|")
      << "a wide character takes two columns and is not cut in the middle";
  EXPECT_EQ(one("e\xCC\x81xxxxxxx", 8), "e\xCC\x81xxxxxxx|") << "a combining accent takes none";
}

TEST(Layout, NothingInATextSteersTheTerminal) {
  const std::string text = plain(lay_out(std::vector<Piece>{{.text = std::string("\x1b[2J\r\x07\x00\x7f", 8) + "\xC2\x9B\xE2\x80\xAE\xFF"}}, 80, Colour::kOff));
  EXPECT_EQ(text, "\\x1b[2J\\x0d\\x07\\x00\\x7f\\x9b\\u202e\xEF\xBF\xBD|");
}

TEST(Layout, StylesAreColoursThatEndWithTheLine) {
  const std::vector<Piece> pieces = {{.text = "ab"}, {.text = "cdefghij", .style = Piece::Style::kFresh}, {.text = "--", .style = Piece::Style::kMasked}};
  EXPECT_EQ(plain(lay_out(pieces, 8, Colour::kOn)), "ab\x1b[1;32mcdefgh\x1b[0m|\x1b[1;32mij\x1b[0m\x1b[2m--\x1b[0m|");
  EXPECT_THAT(plain(lay_out(pieces, 8, Colour::kOff)), Not(HasSubstr("\x1b")));
}

TEST(Layout, ALongDraftShowsWhereItChanges) {
  std::vector<ScreenLine> lines(10);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    lines[i].text = std::to_string(i);
  }
  EXPECT_EQ(visible_part(lines, 3).front().text, "0") << "nothing has happened yet";
  lines[6].has_fresh = true;
  EXPECT_EQ(visible_part(lines, 3).front().text, "4");
  EXPECT_EQ(visible_part(lines, 3).back().text, "6");
  EXPECT_EQ(visible_part(lines, 20).size(), 10U);
}

TEST(DraftBoard, CellsAppearAsTheyAreUnmasked) {
  DraftBoard board(letters);
  board.add(0, 5, 4);
  EXPECT_TRUE(board.begun().empty());
  board.apply({.number = 0, .passes = 1, .unmasked = {{6, 1, 1.F}}});
  board.apply({.number = 0, .passes = 2, .unmasked = {{5, 0, 1.F}, {8, 3, 1.F}}});
  EXPECT_THAT(board.begun(), ElementsAre(0));
  std::string text, styles;
  for (const Piece& piece : board.pieces(0)) {
    text += piece.text;
    styles += piece.style == Piece::Style::kFresh ? 'f' : piece.style == Piece::Style::kMasked ? 'm' : 's';
  }
  EXPECT_EQ(text, "ab\xE2\x96\x91" "d");
  EXPECT_EQ(styles, "fsmf");
  EXPECT_EQ(board.num_unmasked(), 3);
  board.finish(0, std::vector<TokenId>{0, 1, 2, 3});
  EXPECT_EQ(board.pieces(0).size(), 4U);
  board.apply({.number = 9, .passes = 1, .unmasked = {}});  // an answer nobody draws
}

/// A live view whose output goes into a pipe and from there to the fake terminal.
class ViewOnPipe {
 public:
  explicit ViewOnPipe(LiveView::Options options) : output_(make_pipe()), view_(output_, letters, options) {}
  ~ViewOnPipe() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  LiveView& view() { return view_; }
  std::string take() {
    std::array<char, 1 << 14> buffer{};
    Output(ends_[1]).write("!");  // so that read() has something
    const auto n = ::read(ends_[0], buffer.data(), buffer.size());
    return std::string(buffer.data(), static_cast<std::size_t>(n) - 1);
  }

 private:
  int make_pipe() {
    EXPECT_EQ(::pipe(ends_.data()), 0);
    return ends_[1];
  }
  std::array<int, 2> ends_{};
  Output output_;
  LiveView view_;
};

TEST(LiveView, FinishedAnswersStayAndTheFrameGoes) {
  ::setenv("COLUMNS", "80", 1);
  ViewOnPipe pipe({.num_answers = 2});
  FakeTerminal terminal(80);
  LiveView& view = pipe.view();
  view.board().add(0, 0, 3);
  view.board().add(1, 0, 2);
  view.board().apply({.number = 0, .passes = 1, .unmasked = {{0, 0, 1.F}}});
  view.board().apply({.number = 1, .passes = 1, .unmasked = {{1, 1, 1.F}}});
  view.refresh();
  terminal.write(pipe.take());
  ASSERT_EQ(terminal.screen().size(), 3U);
  EXPECT_EQ(terminal.screen()[0], "1> a\xE2\x96\x91\xE2\x96\x91");
  EXPECT_EQ(terminal.screen()[1], "2> \xE2\x96\x91" "b");
  EXPECT_THAT(terminal.screen()[2], HasSubstr("0 of 2 answers"));
  EXPECT_FALSE(terminal.cursor_shown());
  EXPECT_FALSE(terminal.coloured()) << "colours end with the frame";

  view.print(0, "abc");
  view.refresh();
  terminal.write(pipe.take());
  ASSERT_EQ(terminal.screen().size(), 3U);
  EXPECT_EQ(terminal.screen()[0], "abc");
  EXPECT_EQ(terminal.screen()[1], "2> \xE2\x96\x91" "b");

  view.print(1, "b\x1b[2Jb");
  view.close();
  terminal.write(pipe.take());
  EXPECT_THAT(terminal.screen(), ElementsAre("abc", "b\\x1b[2Jb"));
  EXPECT_TRUE(terminal.cursor_shown());
}

TEST(LiveView, FramesFitSmallTerminals) {
  ViewOnPipe pipe({.num_answers = 9});
  LiveView& view = pipe.view();
  for (int i = 0; i < 9; ++i) {
    view.board().add(i, 0, 100);
    view.board().apply({.number = i, .passes = 1, .unmasked = {{0, 0, 1.F}}});
  }
  for (const TerminalSize size : {TerminalSize{80, 24}, TerminalSize{20, 5}, TerminalSize{9, 2}, TerminalSize{200, 100}}) {
    const auto lines = view.frame(size);
    EXPECT_LT(lines.size(), static_cast<std::size_t>(std::max(size.rows, 3)));
  }
}

TEST(FramePainter, AFrameReplacesTheLastOne) {
  FramePainter painter;
  FakeTerminal terminal(20);
  terminal.write("before\n");
  terminal.write(painter.paint(std::vector<std::string>{"a long line", "second", "third"}));
  terminal.write(painter.paint(std::vector<std::string>{"short"}));
  EXPECT_THAT(terminal.screen(), ElementsAre("before", "short"));
  terminal.write(painter.close());
  EXPECT_THAT(terminal.screen(), ElementsAre("before"));
  EXPECT_TRUE(terminal.cursor_shown());
  EXPECT_EQ(painter.close(), "") << "nothing to do twice";
}

TEST(FramePainter, LeavesACursorAloneThatItMightNotBringBack) {
  FramePainter painter(Cursor::kLeave);
  const std::string drawn = painter.paint(std::vector<std::string>{"a line"}) + painter.clear() + painter.close();
  EXPECT_THAT(drawn, testing::AllOf(Not(HasSubstr("?25l")), Not(HasSubstr("?25h"))));
}

}  // namespace
}  // namespace unmask::launcher
