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

#include "base/under_tsan.h"
#include "preempt/flag.h"
#include "preempt/interrupt.h"

#if !YAMANOTE_UNDER_TSAN  // It stands in front of these itself.

// The runtime's own, which calls nothing of the application's; absent where the
// runtime is not linked.
extern "C" [[gnu::weak]] void yamanote_preempt_on_interrupt(int, siginfo_t*,
                                                            void*);

namespace {

using yamanote::preempt::CallsHandler;

using Action = void (*)(int, siginfo_t*, void*);
using PlainHandler = void (*)(int);
using SigactionFunction = int (*)(int, const struct sigaction*,
                                  struct sigaction*);

// What the application installed for one signal: one of the two, or none.
struct Handlers {
  std::atomic<Action> action{nullptr};  // With SA_SIGINFO.
  std::atomic<PlainHandler> plain{nullptr};

  // Release: pairs with Guarded(). The new one first: a signal that comes in
  // between finds it, or the old one, as if it had come before.
  void Set(Action new_action, PlainHandler new_plain) {
    if (new_action != nullptr) {
      action.store(new_action, std::memory_order_release);
      plain.store(new_plain, std::memory_order_release);
    } else {
      plain.store(new_plain, std::memory_order_release);
      action.store(new_action, std::memory_order_release);
    }
  }
};
std::array<Handlers, NSIG> g_handlers{};

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

// Acquire: pairs with Handlers::Set().
void Guarded(int number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  yamanote::preempt::ThreadState& state =
      yamanote::preempt::yamanote_preempt_state;
  const uintptr_t saved = state.guard;
  state.guard =
      std::max(saved, reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
  const Handlers& handlers = g_handlers[static_cast<size_t>(number)];
  if (const Action action = handlers.action.load(std::memory_order_acquire)) {
    action(number, info, context);
  } else if (const PlainHandler plain =
                 handlers.plain.load(std::memory_order_acquire)) {
    plain(number);
  }
  state.guard = saved;
  errno = saved_errno;
}

bool IsRuntimes(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 &&
         action.sa_sigaction != nullptr &&
         action.sa_sigaction == &yamanote_preempt_on_interrupt;
}

}  // namespace

extern "C" int sigaction(int number, const struct sigaction* action,
                         struct sigaction* old) noexcept {
  if (number < 1 || number >= NSIG) return NextSigaction()(number, action, old);
  Handlers& handlers = g_handlers[static_cast<size_t>(number)];
  const Action action_before = handlers.action.load(std::memory_order_acquire);
  const PlainHandler plain_before =
      handlers.plain.load(std::memory_order_acquire);
  struct sigaction ours;
  if (action != nullptr && CallsHandler(*action) && !IsRuntimes(*action)) {
    // First, so that a signal that comes at once finds it.
    const bool with_information = (action->sa_flags & SA_SIGINFO) != 0;
    handlers.Set(with_information ? action->sa_sigaction : nullptr,
                 with_information ? nullptr : action->sa_handler);
    ours = *action;
    ours.sa_sigaction = &Guarded;
    ours.sa_flags |= SA_SIGINFO;
    action = &ours;
  }
  struct sigaction seen;
  const int result = NextSigaction()(number, action, &seen);
  if (result != 0) {
    handlers.Set(action_before, plain_before);
    return result;
  }
  if (old != nullptr) {
    *old = seen;
    if (seen.sa_sigaction == &Guarded) {
      if (action_before != nullptr) {
        old->sa_sigaction = action_before;
      } else {
        old->sa_handler = plain_before;
        old->sa_flags &= ~SA_SIGINFO;
      }
    }
  }
  return 0;
}

namespace {

PlainHandler Install(int number, PlainHandler handler, int flags) {
  struct sigaction action{};
  struct sigaction old{};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  if (sigaction(number, &action, &old) != 0) return SIG_ERR;
  return old.sa_handler;
}

}  // namespace

// BSD's meaning, as glibc's: it stays installed and restarts system calls.
extern "C" PlainHandler signal(int number, PlainHandler handler) noexcept {
  return Install(number, handler, SA_RESTART);
}

// System V's, which <signal.h> calls signal() for strict ISO C: once, and not blocked.
// NOLINTNEXTLINE(bugprone-reserved-identifier)
extern "C" PlainHandler __sysv_signal(int number,
                                      PlainHandler handler) noexcept {
  return Install(number, handler, static_cast<int>(SA_RESETHAND) | SA_NODEFER);
}
extern "C" PlainHandler sysv_signal(int number, PlainHandler handler) noexcept {
  return __sysv_signal(number, handler);
}

#endif  // YAMANOTE_UNDER_TSAN
