// SPDX-License-Identifier: Apache-2.0
// A model as a library user opens it, on a communicator of the user's: never MPI_COMM_WORLD.
#include <mpi.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/mpi/mpi_communicator.h"
#include "golden_cases.h"
#include "runtime/engine.h"
#include "runtime/model.h"
#include "runtime/special_tokens.h"
#include "tests/comm/mpi_test_main.h"

namespace unmask::testing_data {
namespace {

const std::filesystem::path kData = std::filesystem::path(UNMASK_SOURCE_DIR) / "tests/data";

/// The golden cases from `begin` on in strides, on the ranks of comm; how many this rank answered.
std::int64_t run_cases(comm::Communicator& comm, const std::string& name, std::size_t begin, std::size_t stride) {
  runtime::Model model(comm, kData / name, {.precision = experts::Precision::kFloat32, .num_threads = 1});
  model.load();
  const auto special = runtime::find_special_tokens(model.files(), model.config(), nullptr, std::nullopt);
  const auto cases = read_decode_cases(kData / name / "decode.json");
  std::int64_t answered = 0;
  runtime::Engine engine(model.transformer(),
                         {.kv_memory_bytes = model.kv_memory_bytes(), .eos_tokens = special.ends, .mask_token = special.mask},
                         {.on_answer = [&](const runtime::Request& request, const runtime::Answer& answer) {
                           const auto& expected = cases[size(request.number)];
                           EXPECT_FALSE(answer.error);
                           EXPECT_EQ(answer.tokens, expected.tokens) << "case " << request.number;
                           EXPECT_EQ(answer.passes, expected.passes);
                           EXPECT_EQ(answer.rows, expected.rows);
                           ++answered;
                         }});
  runtime::RankLoads loads(comm.num_ranks());
  for (std::size_t i = begin; i < cases.size(); i += stride) {
    if (loads.place(cases[i].request) == comm.rank()) {
      engine.submit(cases[i].request);
    }
  }
  while (engine.run_step()) {
  }
  return answered;
}

/// Two halves of the ranks run different models and different numbers of steps at the same time.
TEST(ModelOverMpi, KeepsToTheCommunicatorOfItsCaller) {
  const int colour = comm::test::world().rank().value % 2;
  MPI_Comm half = MPI_COMM_NULL;
  ASSERT_EQ(MPI_Comm_split(MPI_COMM_WORLD, colour, 0, &half), MPI_SUCCESS);
  {
    const auto mine = comm::mpi::make_mpi_communicator(half, {std::chrono::seconds(60)});
    const auto answered = run_cases(*mine, colour == 0 ? "plain" : "uneven", size(colour), colour == 0 ? 9 : 5);
    EXPECT_GT(answered, 0) << "every rank has some";
  }
  MPI_Comm_free(&half);
}

TEST(ModelOverMpi, FailsOnAllRanksTogether) {
  auto& comm = comm::test::world();
  const bool is_odd = comm.rank().value == comm.num_ranks() - 1;
  std::string message;
  try {
    runtime::Model model(comm, kData / (is_odd ? "nowhere" : "plain"));
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_THAT(message, testing::HasSubstr("nowhere"));
  try {
    message.clear();
    runtime::Model model(comm, kData / (is_odd ? "uneven" : "plain"), {.num_threads = 1});
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_EQ(message.find("every rank must have the same checkpoint") != std::string::npos, comm.num_ranks() > 1) << message;
}

}  // namespace
}  // namespace unmask::testing_data
