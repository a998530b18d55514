// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>

#include "launcher/batch/answered_set.h"
#include "launcher/batch/id_table.h"
#include "launcher/batch/openai_answer.h"
#include "launcher/generate/questions.h"
#include "launcher/io/line_reader.h"
#include "runtime/input_file.h"

namespace unmask::launcher {

/// A request on its way to a rank, or its error.
struct Prepared {
  Ticket ticket;
  std::optional<TokenRequest> request;  ///< its number is the ticket's index
  std::optional<Error> refused;         ///< one of the two
};

/// Reads, checks and tokenizes the input on a thread of its own, ahead of the ranks and within bounded memory. Lines that are
/// answered already are compared with those that were answered, and passed over.
class RequestPump {
 public:
  struct Options {
    std::filesystem::path input;    ///< or "-"
    std::string model_name;         ///< for requests that name none
    std::size_t max_requests = 8192;            ///< that wait to be taken
    std::size_t max_bytes = std::size_t{64} << 20;  ///< that they take
  };
  /// Waits for the writer of a pipe. Throws Error(kBadInput) where the input cannot be opened.
  RequestPump(Options options, Tokenizing how, AnsweredSet answered);
  ~RequestPump();
  RequestPump(const RequestPump&) = delete;
  RequestPump& operator=(const RequestPump&) = delete;

  enum class State { kMore, kWaiting, kAtEnd };
  /// kMore: take() has one; kWaiting: not now. Throws what ended the reading, once all before it was taken.
  State state() const;
  Prepared take();
  /// Waits until it is known whether there is anything to do.
  void wait_for_first() const;

  bool is_regular_file() const { return total_bytes_.has_value(); }
  struct Progress {
    std::int64_t requests = 0;  ///< read so far, answered ones too
    double share = 0;           ///< of the input's bytes; 0 where its length is not known
    bool at_end = false;
  };
  Progress progress() const;

 private:
  void read_all();
  void read_line(const LineReader::Line& line);
  Prepared prepare(BatchLine line, Ticket ticket) const;
  void put(Prepared prepared);
  bool is_cancelled() const;

  Options options_;
  Tokenizing how_;
  PromptOptions prompt_;
  AnsweredSet answered_;
  InputCheck check_;
  IdTable ids_;
  runtime::FileDescriptor opened_;
  std::optional<std::uint64_t> total_bytes_;
  std::unique_ptr<DescriptorSource> descriptor_;
  std::unique_ptr<UnpackedSource> source_;
  std::int64_t num_requests_ = 0;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::deque<Prepared> ready_;
  std::size_t ready_bytes_ = 0;
  std::exception_ptr failure_;
  Progress progress_;
  bool cancelled_ = false;
  std::thread thread_;
};

/// Lines that hold nothing but blanks ask for nothing.
bool is_blank(std::string_view line);

}  // namespace unmask::launcher
