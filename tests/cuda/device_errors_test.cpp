// SPDX-License-Identifier: Apache-2.0
// What people read when the device, its driver or its memory is not there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "experts/cuda/device.h"
#include "simulator/control.h"

namespace unmask::experts::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;

template <class Act>
void expect_error(const Act& act, ExitCode code, const testing::Matcher<std::string>& text) {
  try {
    act();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    EXPECT_THAT(std::string(error.what()), text);
  }
}

TEST(DeviceErrors, MemoryIsRefusedWithTheNumbers) {
  simulator::set_device_memory(std::size_t{16} << 20);
  {
    const Array<float> some(1 << 20);
    expect_error([] { Array<float>(4 << 20); }, ExitCode::kBadInput,
                 AllOf(HasSubstr("16.0 MiB more of device memory"), HasSubstr("12.0 MiB of the device's 16.0 MiB are free"), HasSubstr("0000:01:00.0")));
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);  // the device is as before
    EXPECT_EQ(Array<float>(1 << 20).capacity(), 1 << 20);
  }
  simulator::set_device_memory(std::size_t{8} << 30);
}

TEST(DeviceErrors, AMissingDriverOrDeviceIsTheMachinesFault) {
  simulator::set_device_count(0);
  int count = 0;
  expect_error([&] { check(cudaGetDeviceCount(&count), "cudaGetDeviceCount"); }, ExitCode::kBadInput,
               AllOf(HasSubstr("cudaErrorNoDevice"), HasSubstr("no CUDA driver was found")));
  simulator::set_device_count(1);
  expect_error([&] { check(cudaSetDevice(3), "cudaSetDevice"); }, ExitCode::kBadInput, HasSubstr("invalid device ordinal"));
}

TEST(DeviceErrors, AFaultNamesTheCallsBefore) {
  const Stream stream = make_stream();
  Array<int> values(4);
  check(cudaMemsetAsync(values.data(), 0, 16, stream.get()), "cudaMemsetAsync");
  simulator::break_device(cudaErrorIllegalAddress);
  expect_error([&] { check(cudaStreamSynchronize(stream.get()), "cudaStreamSynchronize"); }, ExitCode::kPeerLost,
               AllOf(HasSubstr("cudaStreamSynchronize returned cudaErrorIllegalAddress (700: an illegal memory access"),
                     HasSubstr("does nothing more for this process"), HasSubstr("cudaMemsetAsync, cudaStreamSynchronize")));
  simulator::break_device(cudaSuccess);
}

TEST(DeviceErrors, AWrongCallLeavesTheDeviceAlone) {
  expect_error([] { check(cudaStreamDestroy(nullptr), "cudaStreamDestroy"); }, ExitCode::kPeerLost,
               AllOf(HasSubstr("invalid resource handle"), HasSubstr("still answers")));
}

TEST(DeviceErrors, ArraysGrowAndMove) {
  Array<int> values;
  EXPECT_TRUE(values.grow(5));
  const int* const before = values.data();
  EXPECT_FALSE(values.grow(3));
  Array<int> moved = std::move(values);
  EXPECT_EQ(moved.data(), before);
  EXPECT_EQ(moved.bytes(), 20U);
  EXPECT_TRUE(moved.grow(6));
}

}  // namespace
}  // namespace unmask::experts::cuda
