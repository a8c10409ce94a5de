// overflow.cc - the SIGSEGV handler of overflow.h.

#include "worker/overflow.h"

#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "base/check.h"
#include "preempt/interrupt.h"
#include "worker/engine.h"

namespace yamanote::worker {
namespace {

constexpr size_t kSignalStackBytes = 64 * 1024;
constexpr size_t kSignalGuardBytes = 4096;

struct sigaction g_before;
std::once_flag g_installed;

void Write(const char* text) {
  const ssize_t ignored = write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(ignored);
}

// Async-signal-safe: no allocation, no stdio.
void ReportIfOverflow(const void* address) {
  Worker* const worker = Worker::This();
  UserThread* const thread = worker == nullptr ? nullptr : worker->current();
  if (thread == nullptr || thread->stack == nullptr) return;
  const char* const at = static_cast<const char*>(address);
  const char* const bottom = thread->stack->bottom;
  if (at >= bottom || at < bottom - kGuardBytes) return;
  char number[24];
  char* digit = number + sizeof(number) - 1;
  *digit = '\0';
  for (size_t left = worker->engine().stacks().stack_bytes(); left != 0;
       left /= 10) {
    *--digit = static_cast<char>('0' + left % 10);
  }
  Write("yamanote: stack overflow in user thread '");
  Write(thread->name);
  Write("': it used more than stack_bytes = ");
  Write(digit);
  Write(
      "; raise RuntimeOptions::stack_bytes (runtime.stack_bytes in the "
      "configuration)\n");
}

void OnFault(int signal, siginfo_t* info, void* context) {
  ReportIfOverflow(info->si_addr);
  const bool once = (g_before.sa_flags & static_cast<int>(SA_RESETHAND)) != 0;
  if (!once && preempt::CallsHandler(g_before)) {
    if ((g_before.sa_flags & SA_SIGINFO) != 0) {
      g_before.sa_sigaction(signal, info, context);
    } else {
      g_before.sa_handler(signal);
    }
    return;
  }
  // Returning repeats the faulting instruction, now with the earlier handler.
  sigaction(SIGSEGV, &g_before, nullptr);
}

// Below all stacks of tasks, where there is room: the guard of a handler that leaves by
// siglongjmp() is then below the task's frames, and holds nothing off (flag.h). Below it
// lies a page that nobody may touch, for handlers of the program's that ask for it.
void* MapSignalStack() {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  constexpr size_t kBytes = kSignalGuardBytes + kSignalStackBytes;
  void* memory = MAP_FAILED;
#if defined(MAP_32BIT)
  memory =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, kFlags | MAP_32BIT, -1, 0);
#endif
  if (memory == MAP_FAILED)
    memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  YAMANOTE_CHECK(memory != MAP_FAILED, "no memory for a signal stack");
  YAMANOTE_CHECK(mprotect(memory, kSignalGuardBytes, PROT_NONE) == 0,
                 "no guard below a signal stack");
  return memory;
}

}  // namespace

OverflowReporter::OverflowReporter() : stack_(MapSignalStack()) {
  stack_t alternate{};
  alternate.ss_sp = static_cast<char*>(stack_) + kSignalGuardBytes;
  alternate.ss_size = kSignalStackBytes;
  sigaltstack(&alternate, nullptr);
  std::call_once(g_installed, [] {
    struct sigaction action{};
    action.sa_sigaction = &OnFault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &g_before);
  });
}

OverflowReporter::~OverflowReporter() {
  stack_t disable{};
  disable.ss_flags = SS_DISABLE;
  sigaltstack(&disable, nullptr);
  munmap(stack_, kSignalGuardBytes + kSignalStackBytes);
}

}  // namespace yamanote::worker
