// SPDX-License-Identifier: Apache-2.0
#include "comm/watched_wires.h"

#include <array>
#include <exception>

#include "base/error.h"
#include "base/checksum.h"
#include "comm/vigil.h"

namespace unmask::comm {
namespace {

/// What follows a message that is verified.
struct Trailer {
  std::uint64_t sum = 0;
  std::uint64_t number = 0;  ///< of the message, from this sender on this lane
  std::int64_t sender = 0;
  std::int64_t lane = 0;
  bool operator==(const Trailer&) const = default;
};

class WatchedOperation final : public Operation {
 public:
  WatchedOperation(std::unique_ptr<Operation> payload, cluster::RankRecord& record, Vigil& vigil)
      : Operation(payload->description()), payload_(std::move(payload)), record_(record), vigil_(vigil) {
    const Description& what = description();
    note_ = record_.begin(what.kind == Kind::kSend, name(what.lane), narrow<std::int32_t>(what.peer.value), what.bytes);
  }

  /// The trailer's buffer is here; `start` sends or receives it.
  template <class Start>
  void verify(std::span<const std::byte> bytes, const Trailer& expected, const std::string& host, Start start) {
    bytes_ = bytes;
    expected_ = expected;
    host_ = &host;
    trailer_ = description().kind == Kind::kSend ? expected : Trailer{};
    trailer_operation_ = start(std::as_writable_bytes(std::span(&trailer_, 1)));
  }

  bool test() override {
    if (done_) {
      return true;
    }
    if (!payload_->test() || (trailer_operation_ != nullptr && !trailer_operation_->test())) {
      vigil_.looks();
      return false;
    }
    if (trailer_operation_ != nullptr && description().kind == Kind::kReceive) {
      compare();
    }
    done_ = true;
    record_.end(note_);
    vigil_.works();
    return true;
  }
  std::int64_t bytes_done() const override { return payload_->bytes_done(); }

 private:
  void compare() {
    expected_.sum = checksum(bytes_);
    require(trailer_ == expected_, ExitCode::kPeerLost,
            "message {} from rank {} (host {}) on lane {}, {} bytes: its checksum was {:016x} when it left and is {:016x} here (sent as "
            "message {} of rank {} on lane {}): the network or the memory of one of the two hosts is bad",
            expected_.number, description().peer, *host_, name(description().lane), description().bytes, trailer_.sum, expected_.sum,
            trailer_.number, trailer_.sender, trailer_.lane);
  }

  std::unique_ptr<Operation> payload_, trailer_operation_;
  cluster::RankRecord& record_;
  Vigil& vigil_;
  std::uint64_t note_;
  std::span<const std::byte> bytes_;
  Trailer expected_, trailer_;
  const std::string* host_ = nullptr;
  bool done_ = false;
};

class WatchedWires final : public PointToPoint {
 public:
  WatchedWires(std::unique_ptr<PointToPoint> wires, cluster::RankRecord* record)
      : wires_(std::move(wires)), own_record_(record == nullptr ? std::make_unique<cluster::RankRecord>() : nullptr),
        record_(record == nullptr ? *own_record_ : *record), vigil_(*wires_, record_),
        sent_(size(job().num_ranks())), received_(size(job().num_ranks())) {}

  ~WatchedWires() override {
    if (std::uncaught_exceptions() > 0) {
      return;
    }
    try {
      vigil_.leave();
    } catch (const std::exception&) {
      // The others are gone in another way.
    }
  }

  const JobView& job() const override { return wires_->job(); }
  void set_deadline(Deadline deadline) override { wires_->set_deadline(deadline); }
  void set_verification(Verification verification) override { verification_ = verification; }
  std::string_view transport() const override { return wires_->transport(); }

  std::unique_ptr<Operation> start_send(Lane lane, Rank to, std::span<const std::byte> bytes) override {
    auto operation = std::make_unique<WatchedOperation>(wires_->start_send(lane, to, bytes), record_, vigil_);
    if (verification_ == Verification::kOn) {
      operation->verify(bytes, trailer(sent_, job().rank, to, lane, checksum(bytes)), job().hosts[to.at()],
                        [&](auto buffer) { return wires_->start_send(lane, to, buffer); });
    }
    vigil_.works();
    return operation;
  }
  std::unique_ptr<Operation> start_receive(Lane lane, Rank from, std::span<std::byte> bytes) override {
    auto operation = std::make_unique<WatchedOperation>(wires_->start_receive(lane, from, bytes), record_, vigil_);
    if (verification_ == Verification::kOn) {
      operation->verify(bytes, trailer(received_, from, from, lane, 0), job().hosts[from.at()],
                        [&](auto buffer) { return wires_->start_receive(lane, from, buffer); });
    }
    return operation;
  }

  std::optional<Incoming> probe(Lane lane) override {
    vigil_.looks();
    return wires_->probe(lane);
  }
  std::int64_t max_probed_bytes() const override { return wires_->max_probed_bytes(); }
  void rest(std::chrono::microseconds at_most) override { wires_->rest(at_most); }
  void works() override { vigil_.works(); }
  std::optional<Overdue> waits(const Wait& wait) override { return vigil_.waits(wait); }
  [[noreturn]] void abort(int exit_code) override {
    wires_->abort(exit_code);
    std::terminate();  // not reached; g++ 12 does not see it through the pointer
  }

 private:
  using Numbers = std::vector<std::array<std::uint64_t, kNumLanes>>;  ///< [peer][lane] messages so far

  static Trailer trailer(Numbers& numbers, Rank sender, Rank peer, Lane lane, std::uint64_t sum) {
    const auto which = static_cast<std::size_t>(lane);
    return {.sum = sum, .number = ++numbers[peer.at()][which], .sender = sender.value, .lane = static_cast<std::int64_t>(which)};
  }

  std::unique_ptr<PointToPoint> wires_;
  std::unique_ptr<cluster::RankRecord> own_record_;
  cluster::RankRecord& record_;
  Vigil vigil_;
  Numbers sent_, received_;
  Verification verification_ = Verification::kOff;
};

}  // namespace

std::unique_ptr<PointToPoint> watch(std::unique_ptr<PointToPoint> wires, cluster::RankRecord* record) {
  return std::make_unique<WatchedWires>(std::move(wires), record);
}

}  // namespace unmask::comm
