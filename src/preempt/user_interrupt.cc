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

#include <array>
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

// The calling thread's index for each receiver that it has sent to.
struct Senders {
  static constexpr size_t kMost = 256;
  std::array<int, kMost> receivers{};
  std::array<long, kMost> indexes{};
  size_t count = 0;
};
thread_local Senders t_senders;

}  // namespace

const char* UserInterruptsMissing() {
  if (!ProcessorHasThem()) return "the processor has none";
  if (syscall(__NR_uintr_register_handler, &OnUserInterrupt, 0) != 0)
    return "the running kernel refuses them";
  syscall(__NR_uintr_unregister_handler, 0);
  return nullptr;
}

int ReceiveUserInterrupts() {
  if (syscall(__NR_uintr_register_handler, &OnUserInterrupt, 0) != 0) return -1;
  const long receiver = syscall(kMakeVector, 0, 0);
  if (receiver < 0) {
    syscall(__NR_uintr_unregister_handler, 0);
    return -1;
  }
  _stui();
  return static_cast<int>(receiver);
}

void EndUserInterrupts(int receiver) {
  _clui();
  close(receiver);
  syscall(__NR_uintr_unregister_handler, 0);
}

bool SendUserInterrupt(int receiver) {
  Senders& senders = t_senders;
  for (size_t i = 0; i < senders.count; ++i) {
    if (senders.receivers[i] != receiver) continue;
    _senduipi(static_cast<unsigned long long>(senders.indexes[i]));
    return true;
  }
  if (senders.count == Senders::kMost) return false;
  const long index = syscall(__NR_uintr_register_sender, receiver, 0);
  if (index < 0) return false;
  senders.receivers[senders.count] = receiver;
  senders.indexes[senders.count++] = index;
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
int ReceiveUserInterrupts() { return -1; }
void EndUserInterrupts(int /*receiver*/) {}
bool SendUserInterrupt(int /*receiver*/) { return false; }

#endif

}  // namespace yamanote::preempt
