// SPDX-License-Identifier: Apache-2.0
#include "comm/lane_communicator.h"

#include <cstdlib>
#include <exception>

#include "base/error.h"
#include "comm/collectives.h"
#include "comm/postbox.h"

namespace unmask::comm {
namespace {

class LaneCommunicator final : public Communicator {
 public:
  explicit LaneCommunicator(std::unique_ptr<PointToPoint> wires) : wires_(std::move(wires)), posts_(*wires_) {}

  ~LaneCommunicator() override {
    if (std::uncaught_exceptions() > 0) {
      return;  // the job is ending in disorder: nobody may be there to take anything
    }
    try {
      posts_.flush();
    } catch (const std::exception&) {
      // A rank is gone or left messages unread; it knows what it did not get.
    }
  }

  Rank rank() const override { return wires_->job().rank; }
  std::int64_t num_ranks() const override { return wires_->job().num_ranks(); }
  const std::string& host() const override { return wires_->job().hosts[rank().at()]; }
  std::int64_t num_ranks_on_host() const override { return wires_->job().num_ranks_on_host; }
  std::int64_t rank_on_host() const override { return wires_->job().rank_on_host; }
  std::string_view transport() const override { return wires_->transport(); }
  void set_deadline(Deadline deadline) override { wires_->set_deadline(deadline); }
  PointToPoint& wires() override { return *wires_; }

  std::vector<Bytes> all_gather(std::span<const std::byte> mine) override { return comm::all_gather(*wires_, mine); }
  Bytes broadcast(std::span<const std::byte> mine, Rank root) override { return comm::broadcast(*wires_, mine, root); }
  void barrier() override { comm::barrier(*wires_); }

  void post(Rank to, std::span<const std::byte> message) override { posts_.post(to, message); }
  std::optional<Posted> poll() override { return posts_.poll(); }

  [[noreturn]] void abort(int exit_code) override {
    wires_->abort(exit_code);
    std::abort();  // not reached; g++ 12 does not see it through the pointer
  }

 private:
  std::unique_ptr<PointToPoint> wires_;
  Postbox posts_;  // dies first: its messages are in flight on the wires
};

}  // namespace

std::unique_ptr<Communicator> make_communicator(std::unique_ptr<PointToPoint> wires) {
  return std::make_unique<LaneCommunicator>(std::move(wires));
}

}  // namespace unmask::comm
