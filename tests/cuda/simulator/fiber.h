// SPDX-License-Identifier: Apache-2.0
// A second stack on the same processor thread: some nanoseconds to enter and to leave, where swapcontext asks the kernel.
#pragma once

#include <cstddef>

namespace simulator {

/// One stack, on which one function runs after the other.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// The function that the next resume() enters. It must not return by an exception.
  void start(void (*function)(void*), void* argument);
  /// Runs until the function suspends or ends. From outside of fibers.
  void resume();
  /// From inside: back to who resumed.
  void suspend();

 private:
  static void enter(Fiber* self);

  static constexpr std::size_t kStackBytes = std::size_t{256} * 1024;  // only touched pages cost memory
  std::byte* stack_ = nullptr;
  void* own_ = nullptr;      // stack pointers, or contexts, of the side that rests
  void* outside_ = nullptr;
  void (*function_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool over_ = false;
  // What sanitizers want to know.
  void* fake_stack_ = nullptr;
  const void* outside_bottom_ = nullptr;
  std::size_t outside_bytes_ = 0;
  void* thread_sanitizer_own_ = nullptr;
  void* thread_sanitizer_outside_ = nullptr;
};

}  // namespace simulator
