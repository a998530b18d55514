// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi/mpi_communicator.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <thread>

#include "base/error.h"
#include "comm/lane_communicator.h"
#include "comm/mpi/check.h"
#include "comm/mpi/transfer.h"

namespace unmask::comm::mpi {
namespace {

int rank_of(MPI_Comm comm) {
  int rank = 0;
  check(MPI_Comm_rank(comm, &rank), {"MPI_Comm_rank"});
  return rank;
}
int size_of(MPI_Comm comm) {
  int size = 0;
  check(MPI_Comm_size(comm, &size), {"MPI_Comm_size"});
  return size;
}

std::vector<std::string> host_names(MPI_Comm comm) {
  std::array<char, MPI_MAX_PROCESSOR_NAME> mine{};
  int length = 0;
  check(MPI_Get_processor_name(mine.data(), &length), {"MPI_Get_processor_name"});
  const int num_ranks = size_of(comm);
  std::vector<std::array<char, MPI_MAX_PROCESSOR_NAME>> all(size(num_ranks));
  check(MPI_Allgather(mine.data(), MPI_MAX_PROCESSOR_NAME, MPI_CHAR, all.data(), MPI_MAX_PROCESSOR_NAME, MPI_CHAR, comm),
        {"MPI_Allgather", -1, MPI_MAX_PROCESSOR_NAME});
  std::vector<std::string> hosts;
  for (auto& host : all) {
    host.back() = '\0';
    hosts.emplace_back(host.data());
  }
  return hosts;
}

JobView view_job(MPI_Comm comm, Deadline deadline) {
  MPI_Comm shared = MPI_COMM_NULL;
  check(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &shared), {"MPI_Comm_split_type"});
  const CommHandle same_host(shared);
  return {Rank(rank_of(comm)), host_names(comm), size_of(shared), rank_of(shared), deadline};
}

class MpiWires final : public PointToPoint {
 public:
  MpiWires(MPI_Comm parent, Deadline deadline) {
    std::generate(lanes_.begin(), lanes_.end(), [&] { return duplicate(parent); });
    job_ = view_job(lane(Lane::kControl), deadline);
  }

  const JobView& job() const override { return job_; }
  void set_deadline(Deadline deadline) override { job_.deadline = deadline; }
  std::string_view transport() const override { return "mpi"; }

  std::unique_ptr<Operation> start_send(Lane on, Rank to, std::span<const std::byte> bytes) override {
    return mpi::start_send(lane(on), {Operation::Kind::kSend, on, to, static_cast<std::int64_t>(bytes.size())}, bytes.data());
  }
  std::unique_ptr<Operation> start_receive(Lane on, Rank from, std::span<std::byte> bytes) override {
    return mpi::start_receive(lane(on), {Operation::Kind::kReceive, on, from, static_cast<std::int64_t>(bytes.size())},
                              bytes.data());
  }

  std::optional<Incoming> probe(Lane on) override {
    int found = 0;
    MPI_Status status{};
    check(MPI_Iprobe(MPI_ANY_SOURCE, kTag, lane(on), &found, &status), {"MPI_Iprobe"});
    if (found == 0) {
      return std::nullopt;
    }
    int bytes = 0;
    check(MPI_Get_count(&status, MPI_BYTE, &bytes), {"MPI_Get_count", status.MPI_SOURCE});
    return Incoming{Rank(status.MPI_SOURCE), bytes};
  }
  std::int64_t max_probed_bytes() const override { return kMaxPieceBytes; }

  void rest(std::chrono::microseconds at_most) override { std::this_thread::sleep_for(at_most); }

  [[noreturn]] void abort(int exit_code) override {
    std::fflush(nullptr);
    MPI_Abort(lane(Lane::kControl), exit_code);
    std::_Exit(exit_code);
  }

 private:
  MPI_Comm lane(Lane which) const { return lanes_[static_cast<std::size_t>(which)].get(); }

  std::array<CommHandle, kNumLanes> lanes_;
  JobView job_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm parent, Deadline deadline, cluster::RankRecord* record) {
  return make_communicator(std::make_unique<MpiWires>(parent, deadline), record);
}

}  // namespace unmask::comm::mpi
