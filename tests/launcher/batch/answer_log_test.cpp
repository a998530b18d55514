// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <random>

#include "launcher/batch/answer_log.h"
#include "tests/launcher/batch/memory_files.h"

namespace unmask::launcher {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kOut = "answers.jsonl";
constexpr const char* kJournal = "answers.jsonl.journal";
constexpr std::int64_t kRequests = 40;

std::string answer_of(std::int64_t index) {
  return format("{{\"id\": {}, \"text\": \"{}\"}}\n", index, std::string(static_cast<std::size_t>(index % 7) * 3, 'x'));
}
AnsweredLine line_of(std::int64_t index) {
  return {.index = index, .number = index + 1, .input_hash = static_cast<std::uint64_t>(index) * 1000003 + 17,
          .error_kind = index % 9 == 4 ? "invalid_json" : "", .text_tokens = 3, .passes = 2};
}
std::string whole_output() {
  std::string all;
  for (std::int64_t i = 0; i < kRequests; ++i) {
    all += answer_of(i);
  }
  return all;
}

using Syncing = AnswerLog::Syncing;

AnswerLog::Options options(Syncing syncing = Syncing::kAtOnce) {
  return {.facts = {{{"model", "m"}, {"dtype", "bf16"}}}, .sync_answers = 6, .sync_time = std::chrono::hours(1), .syncing = syncing};
}

/// What every run does: open, answer what is missing in order, three answers per write; false: it failed on the way.
bool run(MemoryFiles& files, std::int64_t stop_after = kRequests, Syncing syncing = Syncing::kAtOnce) {
  try {
    AnswerLog log(files, kOut, options(syncing));
    const AnsweredSet done = log.take_answered();
    EXPECT_EQ(done.num_answered(), done.first_missing());
    std::int64_t num_new = 0;
    for (std::int64_t i = done.first_missing(); i < kRequests && num_new < stop_after; ++i, ++num_new) {
      log.append(line_of(i), answer_of(i));
      if (num_new % 3 == 2) {
        log.write_out();
      }
    }
    log.end(num_new < stop_after ? "done" : "stopped");
    EXPECT_EQ(log.tally().answers, std::min(kRequests, done.first_missing() + num_new));
    return true;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kIo) << error.what();
    return false;
  }
}

/// Resuming from this state completes the job.
void expect_completes(std::map<std::string, std::string> contents, const std::string& what) {
  MemoryFiles files;
  files.contents = std::move(contents);
  ASSERT_TRUE(run(files)) << what;
  ASSERT_EQ(files.contents[kOut], whole_output()) << what;
}

std::string refusal(MemoryFiles& files, AnswerLog::Options with) {
  try {
    AnswerLog log(files, kOut, std::move(with));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

TEST(AnswerLog, ARunAndItsContinuations) {
  for (std::int64_t piece = 1; piece < 14; ++piece) {
    MemoryFiles files;
    for (std::int64_t done = 0; done < kRequests; done += piece) {
      ASSERT_TRUE(run(files, piece, piece % 2 == 0 ? Syncing::kBeside : Syncing::kAtOnce));
    }
    EXPECT_EQ(files.contents[kOut], whole_output());
    ASSERT_TRUE(run(files)) << "nothing is left to do";
    EXPECT_EQ(files.contents[kOut], whole_output());
  }
}

TEST(AnswerLog, TailsCutAtEveryByteOfTheLastTwoLines) {
  MemoryFiles files;
  ASSERT_TRUE(run(files, 20));
  MemoryFiles crashed;  // without the end: the last answers were never synced
  crashed.contents = MemoryFiles::replay(files.log, files.log.size() - 4, [](std::size_t) { return true; });
  const std::string output = crashed.contents[kOut];
  const std::string journal = crashed.contents[kJournal];
  const auto two_lines = [](const std::string& text) { return text.size() - text.rfind('\n', text.rfind('\n', text.size() - 2) - 1) - 1; };
  for (std::size_t cut = 0; cut <= two_lines(output); ++cut) {
    expect_completes({{kOut, output.substr(0, output.size() - cut)}, {kJournal, journal}}, format("output cut by {}", cut));
  }
  for (std::size_t cut = 0; cut <= two_lines(journal); ++cut) {
    expect_completes({{kOut, output}, {kJournal, journal.substr(0, journal.size() - cut)}}, format("journal cut by {}", cut));
    expect_completes({{kOut, output.substr(0, output.size() - cut % 9)}, {kJournal, journal.substr(0, journal.size() - cut)}},
                     format("both cut by {}", cut));
    expect_completes({{kOut, output + std::string(cut, 'z')}, {kJournal, journal + std::string(cut, '\0')}}, format("rubbish of {}", cut));
  }
}

TEST(AnswerLog, AnyPointOfTheWriteLogWithUnsyncedWritesDropped) {
  MemoryFiles files;
  ASSERT_TRUE(run(files, 17));
  ASSERT_TRUE(run(files));
  std::mt19937 random(7);
  for (std::size_t count = 0; count <= files.log.size(); ++count) {
    const auto& log = files.log;
    expect_completes(MemoryFiles::replay(log, count, [](std::size_t) { return true; }), format("killed after {}", count));
    expect_completes(MemoryFiles::replay(log, count, [](std::size_t) { return false; }), format("power lost after {}", count));
    expect_completes(MemoryFiles::replay(log, count, [&](std::size_t i) { return log[i].file == kOut; }), format("journal lost, {}", count));
    expect_completes(MemoryFiles::replay(log, count, [&](std::size_t i) { return log[i].file != kOut; }), format("output lost, {}", count));
    for (int round = 0; round < 8; ++round) {
      const auto salt = random();
      expect_completes(MemoryFiles::replay(log, count, [&](std::size_t i) { return ((salt >> (i % 31)) & 1U) != 0; }),
                       format("some lost after {}, salt {}", count, salt));
    }
  }
}

TEST(AnswerLog, AFullDiskOrAFailingOneAtAnyChange) {
  MemoryFiles whole;
  ASSERT_TRUE(run(whole));
  for (const auto fault : {MemoryFiles::Fault::kNoSpace, MemoryFiles::Fault::kIoError}) {
    for (std::size_t at = 0; at < whole.log.size(); ++at) {
      MemoryFiles files;
      files.fault = fault;
      files.fails_from = at;
      const bool complete = run(files, kRequests, at % 2 == 0 ? Syncing::kBeside : Syncing::kAtOnce);
      const bool came_so_far = files.log.size() > at;  // with kBeside what gathers is written at once
      EXPECT_TRUE(!complete || !came_so_far || fault == MemoryFiles::Fault::kNoSpace) << at;
      expect_completes(files.contents, format("failed at change {}", at));
    }
  }
}

TEST(AnswerLog, WhatNoCrashDoesIsRefused) {
  MemoryFiles good;
  ASSERT_TRUE(run(good, 20));
  const auto with = [&](const std::string& file, std::size_t at, char byte) {
    MemoryFiles files;
    files.contents = good.contents;
    files.contents[file][at] = byte;
    return refusal(files, options());
  };
  EXPECT_THAT(with(kOut, 9, '!'), HasSubstr("was changed or cut after it was on disk"));
  EXPECT_THAT(with(kJournal, good.contents[kJournal].find("\na 0 ") + 3, '9'), HasSubstr("damaged at byte"));
  EXPECT_THAT(with(kJournal, 0, 'X'), HasSubstr("expected a journal"));
  MemoryFiles emptied;
  emptied.contents = {{kOut, ""}, {kJournal, good.contents[kJournal]}};
  EXPECT_THAT(refusal(emptied, options()), HasSubstr("--restart"));
  MemoryFiles foreign;
  foreign.contents = {{kOut, "my thesis\n"}};
  EXPECT_THAT(refusal(foreign, options()), HasSubstr("no journal"));
  EXPECT_EQ(foreign.contents[kOut], "my thesis\n");
}

TEST(AnswerLog, AnotherJobIsRefusedUnlessRestarted) {
  MemoryFiles files;
  ASSERT_TRUE(run(files, 5));
  auto other = options();
  other.facts = {{{"model", "m"}, {"dtype", "f32"}, {"seed", "1"}}};
  EXPECT_THAT(refusal(files, other), AllOf(HasSubstr("dtype was bf16, is f32"), HasSubstr("seed was not given, is 1"), HasSubstr("--restart")));
  other.start = AnswerLog::Start::kRestart;
  AnswerLog log(files, kOut, other);
  EXPECT_EQ(files.contents[kOut], "");
  EXPECT_EQ(log.tally().answers, 0);
}

TEST(AnswerLog, ASecondRunWaitsAndThenRefuses) {
  MemoryFiles files;
  AnswerLog first(files, kOut, options());
  auto second = options();
  second.wait_for_lock = std::chrono::milliseconds(120);
  try {
    AnswerLog log(files, kOut, second);
    ADD_FAILURE() << "two runs at once";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kIo);
    EXPECT_THAT(error.what(), HasSubstr("in use by another run"));
  }
}

TEST(SystemFiles, ALockIsForOneAndShowsWhatTheOtherWrote) {
  const auto path = std::filesystem::temp_directory_path() / format("unmask-files-{}", ::getpid());
  SystemFiles files;
  {
    auto first = files.open(path);
    ASSERT_TRUE(first->try_lock());
    first->append("one\n");
    auto second = files.open(path);
    EXPECT_FALSE(second->try_lock());
    EXPECT_FALSE(SystemFiles::open_for_reading(path)->try_lock()) << "somebody writes";
    first->append("two\n");
    first.reset();
    {
      auto reader = SystemFiles::open_for_reading(path), other = SystemFiles::open_for_reading(path);
      EXPECT_TRUE(reader->try_lock() && other->try_lock()) << "readers are in nobody's way";
    }
    ASSERT_TRUE(second->try_lock());
    EXPECT_EQ(second->num_bytes(), 8U) << "written while the second waited";
    second->append("three\n");
    second->truncate(9);
    second->sync();
    std::string text(20, ' ');
    EXPECT_EQ(second->read(4, text), 5U);
    EXPECT_EQ(text.substr(0, 5), "two\nt");
  }
  std::filesystem::remove(path);
  EXPECT_THROW(files.open("/nonexistent/folder/x"), Error);
  EXPECT_THROW(files.open("/dev/null"), Error);
}

TEST(AnswerLog, SyncsByCountAndByTime) {
  MemoryFiles files;
  auto with = options();
  with.sync_answers = 4;
  AnswerLog log(files, kOut, with);
  const auto syncs = [&] { return std::ranges::count(files.log, MemoryFiles::Change::Kind::kSync, &MemoryFiles::Change::kind); };
  const auto before = syncs();
  for (std::int64_t i = 0; i < 12; ++i) {
    log.append(line_of(i), answer_of(i));
    log.write_out();
  }
  EXPECT_EQ(syncs() - before, 3 * 2) << "output and journal, each fourth answer";
  MemoryFiles quick;
  with.sync_answers = 1000;
  with.sync_time = std::chrono::milliseconds(0);
  AnswerLog timed(quick, kOut, with);
  timed.append(line_of(0), answer_of(0));
  timed.write_out();
  EXPECT_EQ(quick.log.back().kind, MemoryFiles::Change::Kind::kSync);
}

/// A disk that is busy for as long as the test wants.
class BusyFiles : public MemoryFiles {
 public:
  std::unique_ptr<AppendFile> open(const std::filesystem::path& file) override {
    return std::make_unique<File>(MemoryFiles::open(file), *this);
  }
  void set_busy(bool busy) {
    const std::lock_guard lock(mutex_);
    busy_ = busy;
    changed_.notify_all();
  }

 private:
  class File : public AppendFile {
   public:
    File(std::unique_ptr<AppendFile> file, BusyFiles& all) : file_(std::move(file)), all_(all) {}
    std::uint64_t num_bytes() const override { return file_->num_bytes(); }
    std::size_t read(std::uint64_t offset, std::span<char> into) const override { return file_->read(offset, into); }
    void append(std::string_view bytes) override { file_->append(bytes); }
    void truncate(std::uint64_t num_bytes) override { file_->truncate(num_bytes); }
    void sync() override {
      std::unique_lock lock(all_.mutex_);
      all_.changed_.wait(lock, [&] { return !all_.busy_; });
      file_->sync();
    }
    bool try_lock() override { return file_->try_lock(); }

   private:
    std::unique_ptr<AppendFile> file_;
    BusyFiles& all_;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  bool busy_ = false;
};

TEST(AnswerLog, WhileTheDiskIsBusyAnswersGatherAndNobodyWaits) {
  BusyFiles files;
  AnswerLog log(files, kOut, options(Syncing::kBeside));
  files.set_busy(true);
  const auto append = [&](std::int64_t i) {
    log.append(line_of(i), answer_of(i));
    log.write_out();
  };
  for (std::int64_t i = 0; i < kRequests; ++i) {
    append(i);  // the sixth begins to sync
  }
  EXPECT_EQ(files.contents[kOut], answer_of(0) + answer_of(1) + answer_of(2) + answer_of(3) + answer_of(4) + answer_of(5))
      << "a mark behind later answers would tell a lie";
  files.set_busy(false);
  log.end("done");
  EXPECT_EQ(files.contents[kOut], whole_output());
  expect_completes(files.contents, "a whole one");
}

TEST(AnsweredSet, AnyOrderAndTheInputReadAgain) {
  AnsweredSet set;
  std::vector<std::int64_t> order(300);
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [](std::int64_t i) { return i == 137 || i == 290; });
  std::shuffle(order.begin(), order.end(), std::mt19937(3));
  const auto hash = [](std::int64_t i) { return static_cast<std::uint64_t>(i) * 7919 + 1; };
  for (const std::int64_t i : order) {
    EXPECT_TRUE(set.add(i, hash(i)));
  }
  EXPECT_FALSE(set.add(5, 1));
  EXPECT_EQ(set.first_missing(), 137);
  EXPECT_EQ(set.num_answered(), 298);
  EXPECT_EQ(set.end(), 300);
  EXPECT_FALSE(set.has(290));

  const auto read_again = [&](std::int64_t changed, std::int64_t count) {
    InputCheck check(set);
    for (std::int64_t i = 0; i < count; ++i) {
      check.pass(i, 2 * i + 1, hash(i) + (i == changed ? 1 : 0));
    }
    check.end(count);
  };
  EXPECT_NO_THROW(read_again(-1, 300));
  EXPECT_NO_THROW(read_again(-1, 1000));
  EXPECT_NO_THROW(read_again(137, 300)) << "nobody has seen that line yet";
  EXPECT_NO_THROW(read_again(300, 400));
  for (const std::int64_t changed : {0, 63, 64, 136, 299}) {
    EXPECT_THROW(read_again(changed, 300), Error) << changed;
    EXPECT_THROW(read_again(changed, 500), Error) << changed;
  }
  EXPECT_THROW(read_again(-1, 299), Error) << "shorter than what was answered";
}

}  // namespace
}  // namespace unmask::launcher
