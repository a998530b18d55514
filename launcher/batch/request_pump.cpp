// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/request_pump.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>

#include "cluster/pinning.h"
#include "launcher/batch/line_hash.h"
#include "launcher/batch/signals_blocked.h"

namespace unmask::launcher {
namespace {

/// All that a line may make long: its texts, prompt and stop texts, most of them with the ticket and with the request.
std::size_t bytes_of(const Prepared& prepared) {
  const Ticket& ticket = prepared.ticket;
  std::size_t bytes = sizeof(Prepared) + ticket.prompt.size() * sizeof(TokenId) * 2 + ticket.id_json.size() * 2 + ticket.model.size();
  for (const std::string& stop : ticket.stops) {
    bytes += (sizeof(stop) + stop.size()) * 2;
  }
  return bytes + (prepared.refused ? std::string_view(prepared.refused->what()).size() : 0);
}

}  // namespace

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

RequestPump::RequestPump(Options options, Tokenizing how, AnsweredSet answered)
    : options_(std::move(options)), how_(how), prompt_(prompt_options(how.options)), answered_(std::move(answered)), check_(answered_) {
  const std::string name = options_.input == "-" ? "standard input" : options_.input.string();
  if (options_.input != "-") {
    opened_ = runtime::FileDescriptor(::open(options_.input.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    require(static_cast<bool>(opened_), ExitCode::kBadInput, "{}: cannot be read: {}", name, runtime::error_text(errno));
    struct stat status {};
    require(::fstat(opened_.get(), &status) == 0 && !S_ISDIR(status.st_mode), ExitCode::kBadInput,
            "{}: expected a file or a pipe with one request per line, found a folder", name);
    if (S_ISREG(status.st_mode)) {
      total_bytes_ = narrow<std::uint64_t>(status.st_size);
    }
  }
  descriptor_ = std::make_unique<DescriptorSource>(opened_ ? opened_.get() : STDIN_FILENO, name, [this] { return is_cancelled(); });
  source_ = std::make_unique<UnpackedSource>(*descriptor_, name);
  const SignalsBlocked blocked;
  thread_ = std::thread([this] {
    cluster::leave_pins();
    read_all();
  });
}

RequestPump::~RequestPump() {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool RequestPump::is_cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_;
}

void RequestPump::read_all() {
  std::exception_ptr failure;
  try {
    LineReader lines(*source_);
    for (auto line = lines.next(); line && !is_cancelled(); line = lines.next()) {
      if (line->too_long || !is_blank(line->text)) {
        read_line(*line);
      }
    }
    if (!is_cancelled()) {
      check_.end(num_requests_);
    }
  } catch (const std::bad_alloc&) {
    failure = std::make_exception_ptr(Error(ExitCode::kBadInput, "there is not enough memory on this host to read the requests"));
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  failure_ = failure;
  progress_.at_end = true;
  changed_.notify_all();
}

void RequestPump::read_line(const LineReader::Line& line) {
  Ticket ticket;
  ticket.index = num_requests_++;
  ticket.number = line.number;
  ticket.input_hash = hash_line(line.text, static_cast<std::uint64_t>(line.number) * 2 + (line.too_long ? 1 : 0)).low;
  check_.pass(ticket.index, line.number, ticket.input_hash);
  BatchLine parsed = line.too_long ? too_long_line(line.number) : parse_batch_line(line.text, line.number);
  if (parsed.custom_id && !ids_.insert(*parsed.custom_id)) {
    parsed.request.error.emplace(ExitCode::kBadInput,
                                 format("custom_id: expected a name that no earlier line has, found {} again", parsed.request.id_json));
    parsed.error_kind = "duplicate_custom_id";
  }
  if (!answered_.has(ticket.index)) {
    put(prepare(std::move(parsed), std::move(ticket)));
    return;
  }
  const std::lock_guard lock(mutex_);
  progress_.requests = num_requests_;
}

Prepared RequestPump::prepare(BatchLine line, Ticket ticket) const {
  ticket.form = line.form;
  ticket.id_json = line.request.id_json;
  ticket.has_custom_id = line.custom_id.has_value();
  ticket.model = line.model.empty() ? options_.model_name : line.model;
  ticket.error_kind = line.error_kind;
  Prepared out{.ticket = std::move(ticket), .request = {}, .refused = {}};
  PromptOptions prompt = prompt_;
  if (line.form == BatchLine::Form::kCompletion) {
    prompt.chat = PromptOptions::Template::kRaw;
    prompt.system.reset();
  }
  try {
    out.request = tokenize_input(line.request, out.ticket.index, how_, prompt);
    out.ticket.prompt = out.request->prompt;
    out.ticket.stops = sampling_of(out.request->sampling).stop;
  } catch (const Error& error) {
    out.refused = error;
    out.ticket.error_kind = line.error_kind.empty() ? "invalid_request" : line.error_kind;
  }
  return out;
}

void RequestPump::put(Prepared prepared) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return cancelled_ || (ready_.size() < options_.max_requests && ready_bytes_ < options_.max_bytes); });
  ready_bytes_ += bytes_of(prepared);
  ready_.push_back(std::move(prepared));
  progress_.requests = num_requests_;
  if (total_bytes_) {
    progress_.share = *total_bytes_ == 0 ? 1 : static_cast<double>(source_->num_bytes_taken()) / static_cast<double>(*total_bytes_);
  }
  changed_.notify_all();
}

RequestPump::State RequestPump::state() const {
  const std::lock_guard lock(mutex_);
  if (!ready_.empty()) {
    return State::kMore;
  }
  if (failure_) {
    std::rethrow_exception(failure_);
  }
  return progress_.at_end ? State::kAtEnd : State::kWaiting;
}

Prepared RequestPump::take() {
  const std::lock_guard lock(mutex_);
  Prepared out = std::move(ready_.front());
  ready_.pop_front();
  ready_bytes_ -= bytes_of(out);
  changed_.notify_all();
  return out;
}

void RequestPump::wait_for_first() const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty() || progress_.at_end; });
}

RequestPump::Progress RequestPump::progress() const {
  const std::lock_guard lock(mutex_);
  return progress_;
}

}  // namespace unmask::launcher
