// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/recovery.h"

#include <algorithm>

#include "base/error.h"
#include "launcher/batch/line_hash.h"
#include "launcher/io/line_reader.h"
#include "runtime/strict_json.h"

namespace unmask::launcher {
namespace {

class FileSource : public ByteSource {
 public:
  explicit FileSource(const AppendFile& file) : file_(file) {}
  std::size_t read(std::span<char> into) override {
    const std::size_t n = file_.read(offset_, into);
    offset_ += n;
    return n;
  }

 private:
  const AppendFile& file_;
  std::uint64_t offset_ = 0;
};

bool holds(const AppendFile& output, std::uint64_t offset, const AnsweredLine& answer) {
  if (answer.output_bytes == 0 || answer.output_bytes > output.num_bytes() - std::min(offset, output.num_bytes())) {
    return false;
  }
  std::string line(answer.output_bytes, '\0');
  return output.read(offset, line) == line.size() && output_hash(line) == answer.output_hash;
}

/// Walks along the journal with the output beside it.
class Walk {
 public:
  Walk(const AppendFile& output, const std::string& name) : output_(output), name_(name) {}

  /// A line of the journal, or nothing where it is no whole record.
  void take(const std::optional<JournalRecord>& record, std::uint64_t begin, std::uint64_t end) {
    if (trouble_ != Trouble::kNone) {
      look_behind_trouble(record);
    } else if (!record) {
      trouble_ = Trouble::kJournal;
    } else {
      trouble_ = apply(*record);
    }
    if (trouble_ == Trouble::kNone) {
      out_.journal_bytes = end;
      out_.synced_journal_bytes = std::holds_alternative<Synced>(*record) ? end : out_.synced_journal_bytes;
    } else {
      trouble_at_ = std::min(trouble_at_, begin);
    }
  }
  Recovered result() && { return std::move(out_); }

 private:
  enum class Trouble { kNone, kJournal, kOutput };

  Trouble apply(const JournalRecord& record) {
    if (const auto* facts = std::get_if<JobFacts>(&record)) {
      out_.facts = *facts;
    } else if (const auto* run = std::get_if<RunBegan>(&record)) {
      out_.last_run = run->json;
      out_.last_end.clear();
    } else if (const auto* synced = std::get_if<Synced>(&record)) {
      out_.last_sync_unix_seconds = synced->unix_seconds;
      out_.synced_output_bytes = out_.output_bytes;
    } else if (const auto* ended = std::get_if<RunEnded>(&record)) {
      out_.last_end = ended->why;
    } else if (const auto& answer = std::get<AnsweredLine>(record); true) {
      if (!holds(output_, out_.output_bytes, answer)) {
        return Trouble::kOutput;
      }
      if (!out_.answered.add(answer.index, answer.input_hash)) {
        return Trouble::kJournal;
      }
      out_.output_bytes += answer.output_bytes;
      out_.tally.add(answer);
    }
    return Trouble::kNone;
  }

  /// A Synced is written when all answers before it are on disk; the record after it when the Synced is, with all before it.
  void look_behind_trouble(const std::optional<JournalRecord>& record) {
    unbroken_ = unbroken_ && record.has_value();
    require(trouble_ != Trouble::kOutput || !unbroken_ || !std::holds_alternative<Synced>(*record), ExitCode::kBadInput,
            "{}: the answer at byte {} is not the one that was written: the file was changed or cut after it was on disk; put it back as "
            "it was, or throw the answers away with --restart",
            name_, out_.output_bytes);
    require(!record || !saw_synced_, ExitCode::kBadInput,
            "{}.journal: damaged at byte {}, with good records behind it: no crash does that; put it back as it was, or throw the answers "
            "away with --restart",
            name_, trouble_at_);
    saw_synced_ = saw_synced_ || (record && std::holds_alternative<Synced>(*record));
  }

  const AppendFile& output_;
  const std::string& name_;
  Recovered out_;
  Trouble trouble_ = Trouble::kNone;
  std::uint64_t trouble_at_ = ~std::uint64_t{0};
  bool unbroken_ = true;     ///< all records since the trouble are whole
  bool saw_synced_ = false;  ///< behind it
};

}  // namespace

void Tally::add(const AnsweredLine& line) {
  ++answers;
  text_tokens += line.text_tokens;
  passes += line.passes;
  if (!line.error_kind.empty()) {
    ++failed;
    ++errors[line.error_kind];
  }
}

std::uint64_t output_hash(std::string_view line) { return hash_line(line, 2).low; }

Recovered recover(const AppendFile& journal, const AppendFile& output, const std::string& output_name) {
  FileSource source(journal);
  LineReader lines(source);
  Walk walk(output, output_name);
  std::uint64_t begin = 0;
  while (const auto line = lines.next()) {
    const std::uint64_t end = begin + line->text.size() + 1;
    const bool is_whole = !line->too_long && end <= journal.num_bytes();
    const auto record = is_whole ? decode_record(line->text) : std::nullopt;
    const bool is_facts = record && std::holds_alternative<JobFacts>(*record);
    require(begin > 0 || is_facts || (!is_whole && may_be_torn_facts(line->text)), ExitCode::kBadInput,
            "{}.journal: expected a journal of unmask batch, found something else; move the file away, or throw it away with --restart",
            output_name);
    require(begin == 0 || !is_facts, ExitCode::kBadInput, "{}.journal: it begins a second time at byte {}; throw it away with --restart",
            output_name, begin);
    walk.take(record, begin, end);
    begin = end;
  }
  Recovered out = std::move(walk).result();
  require(out.facts || output.num_bytes() == 0, ExitCode::kBadInput,
          "{}: it is there already, but has no journal beside it that says how it was made: choose another name, or throw it away with "
          "--restart",
          output_name);
  return out;
}

void require_same_job(const JobFacts& then, const JobFacts& now) {
  const auto value = [](const JobFacts& job, const std::string& name) {
    const auto at = std::ranges::find(job.facts, name, &std::pair<std::string, std::string>::first);
    return at == job.facts.end() || at->second.empty() ? std::string("not given") : at->second;
  };
  std::string changes;
  const auto compare = [&](const std::string& name) {
    if (value(then, name) != value(now, name)) {
      changes += format("{}{} was {}, is {}", changes.empty() ? "" : "; ", name, runtime::printable(value(then, name)),
                        runtime::printable(value(now, name)));
    }
  };
  for (const auto& [name, ignored] : now.facts) {
    compare(name);
  }
  for (const auto& [name, ignored] : then.facts) {
    if (std::ranges::find(now.facts, name, &std::pair<std::string, std::string>::first) == now.facts.end()) {
      compare(name);
    }
  }
  require(changes.empty(), ExitCode::kBadInput,
          "the answers so far were made in another way: {}; run the job as it was, or throw the answers away with --restart", changes);
}

}  // namespace unmask::launcher
