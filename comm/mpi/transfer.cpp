// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi/transfer.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "comm/mpi/check.h"

namespace unmask::comm::mpi {
namespace {

/// One message as a row of MPI requests, completed in order.
class Transfer final : public Operation {
 public:
  using Operation::Operation;
  ~Transfer() override { abandon(); }

  /// start(offset, piece_bytes, request) for every piece; an empty message is one empty piece.
  template <class Start>
  void start(Start start_piece) {
    const std::int64_t bytes = description().bytes;
    const std::int64_t most = piece_bytes_on(description().lane);
    requests_.reserve(size(bytes / most + 1));
    std::int64_t offset = 0;
    do {
      const std::int64_t piece = std::min(bytes - offset, most);
      requests_.push_back(MPI_REQUEST_NULL);
      start_piece(offset, narrow<int>(piece), &requests_.back());
      offset += piece;
    } while (offset < bytes);
  }

  bool test() override {
    while (done_ < requests_.size()) {
      int complete = 0;
      MPI_Status status{};
      check(MPI_Test(&requests_[done_], &complete, &status), {"MPI_Test", description().peer.value, piece_bytes(done_)});
      if (complete == 0) {
        return false;
      }
      if (description().kind == Kind::kReceive) {
        check_count(status);
      }
      ++done_;
    }
    return true;
  }

  std::int64_t bytes_done() const override {
    return std::min(description().bytes, static_cast<std::int64_t>(done_) * piece_bytes_on(description().lane));
  }

 private:
  std::int64_t piece_bytes(std::size_t piece) const {
    const std::int64_t most = piece_bytes_on(description().lane);
    return std::min(description().bytes - static_cast<std::int64_t>(piece) * most, most);
  }

  void check_count(const MPI_Status& status) const {
    int found = 0;
    check(MPI_Get_count(&status, MPI_BYTE, &found), {"MPI_Get_count", description().peer.value});
    require(found == piece_bytes(done_), ExitCode::kPeerLost, "message from rank {} on lane {}: expected {} bytes, found {}",
            description().peer, name(description().lane), piece_bytes(done_), found);
  }

  /// The job is failing. A receive must not write any more into memory that is about to go; a send is left to MPI.
  void abandon() noexcept {
    for (; done_ < requests_.size(); ++done_) {
      if (requests_[done_] == MPI_REQUEST_NULL) {
        continue;
      }
      if (description().kind == Kind::kReceive) {
        MPI_Cancel(&requests_[done_]);
      }
      MPI_Request_free(&requests_[done_]);
    }
  }

  std::vector<MPI_Request> requests_;
  std::size_t done_ = 0;
};

}  // namespace

std::unique_ptr<Operation> start_send(MPI_Comm comm, const Operation::Description& what, const std::byte* bytes) {
  auto transfer = std::make_unique<Transfer>(what);
  transfer->start([&](std::int64_t offset, int piece_bytes, MPI_Request* request) {
    check(MPI_Isend(bytes + offset, piece_bytes, MPI_BYTE, what.peer.value, kTag, comm, request),
          {"MPI_Isend", what.peer.value, piece_bytes});
  });
  return transfer;
}

std::unique_ptr<Operation> start_receive(MPI_Comm comm, const Operation::Description& what, std::byte* bytes) {
  auto transfer = std::make_unique<Transfer>(what);
  transfer->start([&](std::int64_t offset, int piece_bytes, MPI_Request* request) {
    check(MPI_Irecv(bytes + offset, piece_bytes, MPI_BYTE, what.peer.value, kTag, comm, request),
          {"MPI_Irecv", what.peer.value, piece_bytes});
  });
  return transfer;
}

}  // namespace unmask::comm::mpi
