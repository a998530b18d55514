// SPDX-License-Identifier: Apache-2.0
// main() of every test that runs under mpirun: MPI around the tests, one result for all ranks.
#include "tests/comm/mpi_test_main.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

#include "base/error.h"
#include "comm/mpi/session.h"

namespace unmask::comm::test {
namespace {

std::unique_ptr<Communicator>& slot() {
  static std::unique_ptr<Communicator> communicator;
  return communicator;
}

/// On ranks other than 0: nothing but failures, each with its rank.
class QuietPrinter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed()) {
      std::fprintf(stderr, "rank %d: %s:%d: %s\n", world().rank().value, result.file_name() ? result.file_name() : "?",
                   result.line_number(), result.message());
    }
  }
};

/// A failed rank must fail the whole test also where it is not rank 0.
int agreed_result(int mine) {
  const std::byte failed{static_cast<unsigned char>(mine != 0)};
  int result = 0;
  for (const auto& theirs : world().all_gather(std::span(&failed, 1))) {
    result |= theirs.at(0) != std::byte{0} ? 1 : 0;
  }
  return result;
}

}  // namespace

Communicator& world() { return *slot(); }

}  // namespace unmask::comm::test

int main(int argc, char** argv) {
  using namespace unmask::comm;
  mpi::Session session(&argc, &argv);
  test::slot() = session.world({std::chrono::seconds(60)});
  testing::InitGoogleTest(&argc, argv);
  if (!test::world().is_root()) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new test::QuietPrinter);  // owned by GoogleTest
  }
  int result = 1;
  try {
    result = test::agreed_result(RUN_ALL_TESTS());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d: %s\n", test::world().rank().value, error.what());
    test::world().abort(1);
  }
  test::slot().reset();
  return result;
}
