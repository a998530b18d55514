// SPDX-License-Identifier: Apache-2.0
// The real cuBLASLt and NCCL, as far as they go without a device: loaded late, every function of ours found in them.
#include <cublasLt.h>
#include <nccl.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/late_library.h"

namespace unmask {
namespace {

TEST(LateLibraries, HaveEveryFunction) {
  EXPECT_STREQ(cublasLtGetStatusName(CUBLAS_STATUS_SUCCESS), "CUBLAS_STATUS_SUCCESS");
  EXPECT_STREQ(ncclGetErrorString(ncclSuccess), "no error");
}

TEST(LateLibraries, ThatAreMissingAreNamed) {
  try {
    const LateLibrary library{"libno-such-thing.so.1"};
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("libno-such-thing.so.1"));
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
  }
  const LateLibrary own{"libm.so.6"};
  EXPECT_THROW(own.find<void (*)()>("no_such_function"), Error);
  EXPECT_EQ(own.find<double (*)(double)>("sqrt")(4.0), 2.0);
}

}  // namespace
}  // namespace unmask
