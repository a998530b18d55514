// SPDX-License-Identifier: Apache-2.0
#include "comm/threads/hub.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "base/error.h"

namespace unmask::comm::threads {
namespace {

std::string host_name() {
  std::array<char, 256> buffer{};
  return gethostname(buffer.data(), buffer.size() - 1) == 0 ? buffer.data() : "localhost";
}

/// Sends are copied at the start, so they are done at once.
class Send final : public Operation {
 public:
  using Operation::Operation;
  bool test() override { return true; }
  std::int64_t bytes_done() const override { return description().bytes; }
};

class ReceiveOperation final : public Operation {
 public:
  ReceiveOperation(const Description& description, Hub& hub, Mailbox& mailbox, std::span<std::byte> into)
      : Operation(description), hub_(hub), mailbox_(mailbox), receive_{into, {}} {
    mailbox_.expect(receive_);
  }
  ~ReceiveOperation() override { mailbox_.cancel(receive_); }

  bool test() override {
    const bool left = hub_.has_left(description().peer);  // asked first: whoever leaves has delivered before
    if (!mailbox_.is_done(receive_)) {
      require(!left, ExitCode::kPeerLost, "rank {} (host {}) has ended: receive on lane {}, {} of {} bytes seen",
              description().peer, hub_.host(), name(description().lane), 0, description().bytes);
      return false;
    }
    require(receive_.message_bytes == receive_.into.size(), ExitCode::kPeerLost,
            "message from rank {} (host {}) on lane {}: expected {} bytes, found {}", description().peer, hub_.host(),
            name(description().lane), description().bytes, receive_.message_bytes.value_or(0));
    done_ = true;
    return true;
  }
  std::int64_t bytes_done() const override { return done_ ? description().bytes : 0; }

 private:
  Hub& hub_;
  Mailbox& mailbox_;
  Mailbox::Receive receive_;
  bool done_ = false;
};

class ThreadWires final : public PointToPoint {
 public:
  ThreadWires(std::shared_ptr<Hub> hub, Rank rank) : hub_(std::move(hub)) {
    job_.rank = rank;
    job_.hosts.assign(size(hub_->num_ranks()), hub_->host());
    job_.num_ranks_on_host = hub_->num_ranks();
    job_.rank_on_host = rank.value;
    job_.deadline = hub_->deadline();
  }
  ~ThreadWires() override { hub_->leave(job_.rank); }

  const JobView& job() const override { return job_; }
  void set_deadline(Deadline deadline) override { job_.deadline = deadline; }
  std::string_view transport() const override { return "threads"; }

  std::unique_ptr<Operation> start_send(Lane lane, Rank to, std::span<const std::byte> bytes) override {
    hub_->mailbox(to, job_.rank, lane).deliver(bytes);
    hub_->bell(to).ring();
    return std::make_unique<Send>(describe(Operation::Kind::kSend, lane, to, bytes.size()));
  }
  std::unique_ptr<Operation> start_receive(Lane lane, Rank from, std::span<std::byte> bytes) override {
    return std::make_unique<ReceiveOperation>(describe(Operation::Kind::kReceive, lane, from, bytes.size()), *hub_,
                                              hub_->mailbox(job_.rank, from, lane), bytes);
  }

  std::optional<Incoming> probe(Lane lane) override {
    for (std::int64_t i = 0; i < job_.num_ranks(); ++i) {  // in turn, so that no sender is left behind
      const Rank from((next_probed_ + i) % job_.num_ranks());
      if (const auto bytes = hub_->mailbox(job_.rank, from, lane).first_bytes()) {
        next_probed_ = from.value + 1;
        return Incoming{from, *bytes};
      }
    }
    return std::nullopt;
  }
  std::int64_t max_probed_bytes() const override { return std::int64_t{1} << 30; }

  void rest(std::chrono::microseconds at_most) override { hub_->bell(job_.rank).wait(at_most); }

  [[noreturn]] void abort(int exit_code) override {
    std::fflush(nullptr);
    std::_Exit(exit_code);  // no destructors: other ranks are in the middle of something
  }

 private:
  static Operation::Description describe(Operation::Kind kind, Lane lane, Rank peer, std::size_t bytes) {
    return {kind, lane, peer, static_cast<std::int64_t>(bytes)};
  }

  std::shared_ptr<Hub> hub_;
  JobView job_;
  std::int64_t next_probed_ = 0;
};

}  // namespace

Hub::Hub(std::int64_t num_ranks, Deadline deadline)
    : num_ranks_(num_ranks), host_(host_name()), deadline_(deadline), mailboxes_(size(num_ranks * num_ranks) * kNumLanes),
      bells_(size(num_ranks)), left_(size(num_ranks)) {}

Mailbox& Hub::mailbox(Rank receiver, Rank sender, Lane lane) {
  UNMASK_CHECK(receiver.value >= 0 && receiver.value < num_ranks_ && sender.value >= 0 && sender.value < num_ranks_,
               "from rank {} to rank {} of {}", sender, receiver, num_ranks_);
  return mailboxes_[(receiver.at() * size(num_ranks_) + sender.at()) * kNumLanes + static_cast<std::size_t>(lane)];
}

void Hub::leave(Rank rank) {
  left_[rank.at()].store(true, std::memory_order_release);
  for (auto& bell : bells_) {
    bell.ring();
  }
}

std::unique_ptr<PointToPoint> make_wires(std::shared_ptr<Hub> hub, Rank rank) {
  return std::make_unique<ThreadWires>(std::move(hub), rank);
}

}  // namespace unmask::comm::threads
