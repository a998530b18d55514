// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/shared_device_links.h"

#include <cstring>

#include "base/error.h"

namespace unmask::comm {

SharedDeviceLinks::SharedDeviceLinks(Communicator& comm) : comm_(comm) {
  const auto mine = std::make_shared<Board>();
  mine->ready = make_device_event(operation_);
  mine->taken = make_device_event(operation_);
  const auto* address = &mine;
  for (const Bytes& bytes : comm.all_gather(std::as_bytes(std::span(&address, 1)))) {
    UNMASK_CHECK(bytes.size() == sizeof address, "{} bytes for an address", bytes.size());
    const std::shared_ptr<Board>* board = nullptr;
    std::memcpy(&board, bytes.data(), sizeof board);
    boards_.push_back(*board);
  }
  comm.barrier();  // all have their share of the boards
}

void SharedDeviceLinks::meet(std::string_view operation) {
  try {
    comm_.barrier();
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", operation, error.what());
  }
}

void SharedDeviceLinks::exchange(std::string_view operation, std::span<const Piece> out, std::span<const Piece> in, cudaStream_t stream) {
  operation_ = operation;
  Board& mine = *boards_[comm_.rank().at()];
  mine.number = ++number_;
  mine.operation = operation;
  mine.out.assign(out.begin(), out.end());
  check_device(cudaEventRecord(mine.ready.get(), stream), "cudaEventRecord", operation);
  meet(operation);
  for (Rank rank(0); rank.value < comm_.num_ranks(); ++rank) {
    if (rank != comm_.rank()) {
      take_from(*boards_[rank.at()], rank, in, stream);
    }
  }
  check_device(cudaEventRecord(mine.taken.get(), stream), "cudaEventRecord", operation);
  meet(operation);
  std::vector<bool> waited(boards_.size());
  for (const Piece& piece : out) {
    if (!waited[piece.peer.at()]) {
      check_device(cudaStreamWaitEvent(stream, boards_[piece.peer.at()]->taken.get()), "cudaStreamWaitEvent", operation);
    }
    waited[piece.peer.at()] = true;
  }
}

/// Pieces between two ranks belong together in the order in which both name them.
void SharedDeviceLinks::take_from(const Board& peer, Rank from, std::span<const Piece> in, cudaStream_t stream) {
  require(peer.number == number_ && peer.operation == operation_, ExitCode::kPeerLost,
          "rank {} (host {}) is in exchange {} ({}), this rank in {} ({}): out of step", from, comm_.host(), peer.number, peer.operation,
          number_, operation_);
  auto next = peer.out.begin();
  const auto find_next = [&] {
    while (next != peer.out.end() && next->peer != comm_.rank()) {
      ++next;
    }
  };
  bool is_first = true;
  for (const Piece& piece : in) {
    if (piece.peer != from) {
      continue;
    }
    find_next();
    require(next != peer.out.end() && next->bytes == piece.bytes, ExitCode::kPeerLost, "{}: {} bytes expected from rank {} (host {}), found {}",
            operation_, piece.bytes, from, comm_.host(), next == peer.out.end() ? 0 : next->bytes);
    if (is_first) {
      check_device(cudaStreamWaitEvent(stream, peer.ready.get()), "cudaStreamWaitEvent", operation_);
      is_first = false;
    }
    check_device(cudaMemcpyAsync(piece.memory, next->memory, static_cast<std::size_t>(piece.bytes), cudaMemcpyDeviceToDevice, stream),
                 "cudaMemcpyAsync", operation_);
    ++next;
  }
  find_next();
  require(next == peer.out.end(), ExitCode::kPeerLost, "{}: {} bytes from rank {} (host {}) that nobody expects", operation_,
          next == peer.out.end() ? 0 : next->bytes, from, comm_.host());
}

void SharedDeviceLinks::wait(cudaStream_t stream) {
  wait_until(comm_, operation_, [&] { return is_idle(stream, operation_); });
}

}  // namespace unmask::comm
