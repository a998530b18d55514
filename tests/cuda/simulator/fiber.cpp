// SPDX-License-Identifier: Apache-2.0
#include "fiber.h"

#include <new>

#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__x86_64__)
// Saves what a callee must keep on the stack at rest and the stack pointer in *from, then does the same backwards.
extern "C" void unmask_simulator_switch(void** from, void* to);
asm(R"(
.text
.globl unmask_simulator_switch
.hidden unmask_simulator_switch
.type unmask_simulator_switch, @function
unmask_simulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  retq
.size unmask_simulator_switch, .-unmask_simulator_switch
)");
#endif

namespace simulator {
namespace {

constexpr std::size_t kGuardBytes = 4096;  // below the stack: an overflow ends the program at once

#if defined(__x86_64__)
thread_local Fiber* entering = nullptr;

void* prepared(std::byte* stack, std::size_t bytes, void (*entry)()) {
  constexpr int kKept = 6;  // registers that the switch takes off the stack
  auto** top = reinterpret_cast<void**>(stack + bytes) - 1;  // a return address of nobody: aligned as behind a call
  top[0] = nullptr;
  top[-1] = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kKept; ++i) {
    top[-2 - i] = nullptr;
  }
  return top - 1 - kKept;
}
#endif

}  // namespace

Fiber::Fiber() {
  void* const memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) {
    throw std::bad_alloc();
  }
  stack_ = static_cast<std::byte*>(memory) + kGuardBytes;
#if defined(__SANITIZE_THREAD__)
  thread_sanitizer_own_ = __tsan_create_fiber(0);
#endif
#if !defined(__x86_64__)
  own_ = new ucontext_t;
  outside_ = new ucontext_t;
#endif
}

Fiber::~Fiber() {
  munmap(stack_ - kGuardBytes, kGuardBytes + kStackBytes);
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(thread_sanitizer_own_);
#endif
#if !defined(__x86_64__)
  delete static_cast<ucontext_t*>(own_);
  delete static_cast<ucontext_t*>(outside_);
#endif
}

void Fiber::start(void (*function)(void*), void* argument) {
  function_ = function;
  argument_ = argument;
  over_ = false;
  fake_stack_ = nullptr;
#if defined(__x86_64__)
  own_ = prepared(stack_, kStackBytes, [] { enter(entering); });
#else
  auto* context = static_cast<ucontext_t*>(own_);
  getcontext(context);
  context->uc_stack.ss_sp = stack_;
  context->uc_stack.ss_size = kStackBytes;
  context->uc_link = nullptr;
  makecontext(context, reinterpret_cast<void (*)()>(&Fiber::enter), 1, this);  // pointers pass as int where both fit a register
#endif
}

void Fiber::enter(Fiber* self) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(self->fake_stack_, &self->outside_bottom_, &self->outside_bytes_);
#endif
  self->function_(self->argument_);
  self->over_ = true;
  self->suspend();
}

void Fiber::resume() {
#if defined(__SANITIZE_ADDRESS__)
  void* mine = nullptr;
  __sanitizer_start_switch_fiber(&mine, stack_, kStackBytes);
#endif
#if defined(__SANITIZE_THREAD__)
  thread_sanitizer_outside_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(thread_sanitizer_own_, 0);
#endif
#if defined(__x86_64__)
  entering = this;
  unmask_simulator_switch(&outside_, own_);
#else
  swapcontext(static_cast<ucontext_t*>(outside_), static_cast<ucontext_t*>(own_));
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(mine, nullptr, nullptr);
#endif
}

void Fiber::suspend() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(over_ ? nullptr : &fake_stack_, outside_bottom_, outside_bytes_);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(thread_sanitizer_outside_, 0);
#endif
#if defined(__x86_64__)
  unmask_simulator_switch(&own_, outside_);
#else
  swapcontext(static_cast<ucontext_t*>(own_), static_cast<ucontext_t*>(outside_));
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, &outside_bottom_, &outside_bytes_);
#endif
}

}  // namespace simulator
