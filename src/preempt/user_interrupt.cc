// user_interrupt.cc - see user_interrupt.h. Compiled with -muintr.

#include "preempt/user_interrupt.h"

#include <cpuid.h>
#include <sys/syscall.h>

#if defined(__NR_uintr_register_handler) &&                             \
    (defined(__NR_uintr_vector_fd) || defined(__NR_uintr_create_fd)) && \
    defined(__NR_uintr_register_sender) && defined(YAMANOTE_CAN_UINTR)
#define YAMANOTE_HAS_UINTR 1
#endif

#if defined(YAMANOTE_HAS_UINTR)
#include <unistd.h>
#include <x86gprintrin.h>

#include <atomic>
#include <cstdint>

#include "preempt/interrupt.h"
#endif

namespace yamanote::preempt {
namespace {

bool ProcessorHasThem() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kUintr = 1U << 5;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 &&
         (edx & kUintr) != 0;
}

}  // namespace

#if defined(YAMANOTE_HAS_UINTR)

namespace {

#if defined(__NR_uintr_vector_fd)
constexpr long kMakeVector = __NR_uintr_vector_fd;
#else
constexpr long kMakeVector = __NR_uintr_create_fd;
#endif

// `frame` is the processor's: where the thread goes on. Saves no vector registers,
// hence uses none.
__attribute__((interrupt, target("general-regs-only"))) void OnUserInterrupt(
    struct __uintr_frame* frame, unsigned long long) {
  uintptr_t ip = frame->rip;
  uintptr_t sp = frame->rsp;
  InjectProbe(ip, sp, CurrentTask());
  frame->rip = ip;
  frame->rsp = sp;
}

// Guarded by the timekeeper's lock, for a tick's handler sends too.
constinit thread_local SenderIndexes t_indexes;
std::atomic<uint32_t> g_receivers{0};

}  // namespace

const char* UserInterruptsMissing() {
  if (!ProcessorHasThem()) return "the processor has none";
  if (syscall(__NR_uintr_register_handler, &OnUserInterrupt, 0) != 0)
    return "the running kernel refuses them";
  syscall(__NR_uintr_unregister_handler, 0);
  return nullptr;
}

Receiver ReceiveUserInterrupts() {
  if (syscall(__NR_uintr_register_handler, &OnUserInterrupt, 0) != 0) return {};
  const long descriptor = syscall(kMakeVector, 0, 0);
  if (descriptor < 0) {
    syscall(__NR_uintr_unregister_handler, 0);
    return {};
  }
  _stui();
  // Relaxed: only different from all others.
  uint32_t count = 0;
  while (count == 0)
    count = g_receivers.fetch_add(1, std::memory_order_relaxed) + 1;
  return {.count = count, .descriptor = static_cast<int>(descriptor)};
}

void EndUserInterrupts(Receiver receiver) {
  _clui();
  close(receiver.descriptor);
  syscall(__NR_uintr_unregister_handler, 0);
}

bool SendUserInterrupt(Receiver receiver) {
  const long index = t_indexes.Find(receiver, [](int descriptor) {
    return syscall(__NR_uintr_register_sender, descriptor, 0);
  });
  if (index < 0) return false;
  _senduipi(static_cast<unsigned long long>(index));
  return true;
}

#else

const char* UserInterruptsMissing() {
  return ProcessorHasThem()
             ? "built without them: by clang, or the kernel's headers name no "
               "uintr calls"
             : "the processor has none";
}
Receiver ReceiveUserInterrupts() { return {}; }
void EndUserInterrupts(Receiver /*receiver*/) {}
bool SendUserInterrupt(Receiver /*receiver*/) { return false; }

#endif

}  // namespace yamanote::preempt
