// signals.cc - the application's signal handlers are not preempted.
//
// A handler may have interrupted anything: the runtime's own code, a lock of libc.
// Its mask belongs to the kernel thread. So no probe in it, or in what it calls,
// gives way: sigaction() and signal() install a handler of ours that sets the
// stack guard (flag.h) and calls the application's. The guard, not a count,
// because a handler may leave by siglongjmp().
//
// Part of yamanote_locks. The dispositions that the application sees are its own.

#include <dlfcn.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "preempt/flag.h"

#if defined(__SANITIZE_THREAD__)
#define YAMANOTE_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define YAMANOTE_UNDER_TSAN 1
#endif
#endif

#if !defined(YAMANOTE_UNDER_TSAN)  // It stands in front of these itself.

namespace {

using Action = void (*)(int, siginfo_t*, void*);
using PlainHandler = void (*)(int);
using SigactionFunction = int (*)(int, const struct sigaction*,
                                  struct sigaction*);

// The application's handlers by signal. A plain handler ignores the arguments
// that it does not have, as the kernel's calls have them too.
std::array<std::atomic<Action>, NSIG> g_handlers{};

SigactionFunction NextSigaction() {
  static std::atomic<SigactionFunction> known{nullptr};
  SigactionFunction next = known.load(std::memory_order_relaxed);
  if (next == nullptr) {
    next = reinterpret_cast<SigactionFunction>(dlsym(RTLD_NEXT, "sigaction"));
    if (next == nullptr) {
      std::fputs("yamanote: no sigaction behind that of yamanote_locks\n",
                 stderr);
      std::abort();
    }
    known.store(next, std::memory_order_relaxed);
  }
  return next;
}

// Acquire: pairs with the exchange in sigaction().
void Guarded(int number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  yamanote::preempt::ThreadState& state =
      yamanote::preempt::yamanote_preempt_state;
  const uintptr_t saved = state.guard;
  state.guard =
      std::max(saved, reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
  g_handlers[static_cast<size_t>(number)].load(std::memory_order_acquire)(
      number, info, context);
  state.guard = saved;
  errno = saved_errno;
}

bool IsHandler(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 ||
         (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
}

}  // namespace

extern "C" int sigaction(int number, const struct sigaction* action,
                         struct sigaction* old) noexcept {
  if (number < 1 || number >= NSIG) return NextSigaction()(number, action, old);
  std::atomic<Action>& slot = g_handlers[static_cast<size_t>(number)];
  const Action before = slot.load(std::memory_order_acquire);
  struct sigaction ours;
  if (action != nullptr && IsHandler(*action)) {
    // First, so that a signal that comes at once finds it.
    slot.store(action->sa_sigaction, std::memory_order_release);
    ours = *action;
    ours.sa_sigaction = &Guarded;
    // Without SA_SIGINFO the kernel passes the same arguments on x86-64.
    action = &ours;
  }
  struct sigaction seen;
  const int result = NextSigaction()(number, action, &seen);
  if (result != 0) {
    slot.store(before, std::memory_order_release);
    return result;
  }
  if (old != nullptr) {
    *old = seen;
    if (IsHandler(seen) && seen.sa_sigaction == &Guarded)
      old->sa_sigaction = before;
  }
  return 0;
}

// BSD's meaning, as glibc's: it stays installed and restarts system calls.
extern "C" PlainHandler signal(int number, PlainHandler handler) noexcept {
  struct sigaction action{};
  struct sigaction old{};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  if (sigaction(number, &action, &old) != 0) return SIG_ERR;
  return old.sa_handler;
}

#endif  // YAMANOTE_UNDER_TSAN
