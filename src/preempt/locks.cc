// locks.cc - a task that holds a lock of the process is not preempted.
//
// A kernel-level mutex stops the kernel thread that waits for it, and with it
// every task of that core; were the holder preempted on that core, nobody would
// ever unlock. So taking one holds preemption off until it is given back. This
// file takes the place of the functions that take locks: for the program and for
// every shared library in it, whose callbacks into code with probes may come with
// a lock held (a comparator, a log sink). std::mutex, std::shared_mutex, the
// guards of local statics and std::call_once are made of these.
//
// A library of its own, yamanote_locks, which yamanote_preemptible() links to
// executables. A program without probes needs it if it has code that may be
// interrupted (YAMANOTE_INTERRUPTIBLE), else it has no use for it. It costs 1-2 ns
// per call. Not covered: futexes and spin locks of the program's own (who spins in
// code with probes gives way himself), and locks taken within libc, which calls
// its own functions directly and is never interrupted.
//
// Giving a lock back is no probe: it may happen in a library that must not be
// interrupted. The next probe answers what was asked meanwhile; in code that has
// probes there is one behind the call.

#include <dlfcn.h>
#include <pthread.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "base/under_tsan.h"
#include "preempt/flag.h"

#if !YAMANOTE_UNDER_TSAN  // Which must see the locks itself.

namespace {

using yamanote::preempt::DisableForLock;
using yamanote::preempt::EnableAfterLock;

// The function that this one stands in front of. Looked up once; a race looks it
// up twice.
template <typename Function>
Function* Next(Function*& known, const char* name) {
  Function* next = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (next == nullptr) {
    next = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
    if (next == nullptr) {
      std::fprintf(stderr, "yamanote: no %s behind that of yamanote_locks\n",
                   name);
      std::abort();
    }
    __atomic_store_n(&known, next, __ATOMIC_RELAXED);
  }
  return next;
}

bool Taken(int result) { return result == 0 || result == EOWNERDEAD; }

}  // namespace

// `parameters` and `arguments` of a function that takes a lock.
#define YAMANOTE_TAKES(name, parameters, arguments) \
  extern "C" int name parameters noexcept {         \
    static decltype(&::name) next = nullptr;        \
    const int result = Next(next, #name) arguments; \
    if (Taken(result)) DisableForLock();            \
    return result;                                  \
  }
#define YAMANOTE_GIVES(name, type)              \
  extern "C" int name(type* lock) noexcept {    \
    static decltype(&::name) next = nullptr;    \
    const int result = Next(next, #name)(lock); \
    if (result == 0) EnableAfterLock();         \
    return result;                              \
  }

YAMANOTE_TAKES(pthread_mutex_lock, (pthread_mutex_t * lock), (lock))
YAMANOTE_TAKES(pthread_mutex_trylock, (pthread_mutex_t * lock), (lock))
YAMANOTE_TAKES(pthread_mutex_timedlock,
               (pthread_mutex_t * lock, const timespec* until), (lock, until))
YAMANOTE_TAKES(pthread_mutex_clocklock,
               (pthread_mutex_t * lock, clockid_t clock, const timespec* until),
               (lock, clock, until))
YAMANOTE_GIVES(pthread_mutex_unlock, pthread_mutex_t)

YAMANOTE_TAKES(pthread_rwlock_rdlock, (pthread_rwlock_t * lock), (lock))
YAMANOTE_TAKES(pthread_rwlock_tryrdlock, (pthread_rwlock_t * lock), (lock))
YAMANOTE_TAKES(pthread_rwlock_timedrdlock,
               (pthread_rwlock_t * lock, const timespec* until), (lock, until))
YAMANOTE_TAKES(pthread_rwlock_clockrdlock,
               (pthread_rwlock_t * lock, clockid_t clock,
                const timespec* until),
               (lock, clock, until))
YAMANOTE_TAKES(pthread_rwlock_wrlock, (pthread_rwlock_t * lock), (lock))
YAMANOTE_TAKES(pthread_rwlock_trywrlock, (pthread_rwlock_t * lock), (lock))
YAMANOTE_TAKES(pthread_rwlock_timedwrlock,
               (pthread_rwlock_t * lock, const timespec* until), (lock, until))
YAMANOTE_TAKES(pthread_rwlock_clockwrlock,
               (pthread_rwlock_t * lock, clockid_t clock,
                const timespec* until),
               (lock, clock, until))
YAMANOTE_GIVES(pthread_rwlock_unlock, pthread_rwlock_t)

YAMANOTE_TAKES(pthread_spin_lock, (pthread_spinlock_t * lock), (lock))
YAMANOTE_TAKES(pthread_spin_trylock, (pthread_spinlock_t * lock), (lock))
YAMANOTE_GIVES(pthread_spin_unlock, volatile pthread_spinlock_t)

// C's, which libc takes by functions of its own. As in <threads.h>, which says nothing of
// exceptions; 0 is thrd_success.
YAMANOTE_TAKES(mtx_lock, (void* lock), (lock))
YAMANOTE_TAKES(mtx_trylock, (void* lock), (lock))
YAMANOTE_TAKES(mtx_timedlock, (void* lock, const timespec* until),
               (lock, until))
YAMANOTE_GIVES(mtx_unlock, void)

// Recursive by kernel thread, so that the core's next task would get it too.
extern "C" void flockfile(FILE* file) noexcept {
  static decltype(&::flockfile) next = nullptr;
  Next(next, "flockfile")(file);
  DisableForLock();
}
YAMANOTE_TAKES(ftrylockfile, (FILE * file), (file))
extern "C" void funlockfile(FILE* file) noexcept {
  static decltype(&::funlockfile) next = nullptr;
  Next(next, "funlockfile")(file);
  EnableAfterLock();
}

// The initialiser runs with the state of `once` taken. It may throw.
extern "C" int pthread_once(pthread_once_t* once, void (*initialise)()) {
  static decltype(&::pthread_once) next = nullptr;
  struct Held {
    Held() { DisableForLock(); }
    ~Held() { EnableAfterLock(); }
  } held;
  return Next(next, "pthread_once")(once, initialise);
}

// Local statics: Itanium C++ ABI, 3.3.3.
extern "C" {
int __cxa_guard_acquire(long long* guard);
void __cxa_guard_release(long long* guard) noexcept;
void __cxa_guard_abort(long long* guard) noexcept;
}

int __cxa_guard_acquire(long long* guard) {
  static decltype(&::__cxa_guard_acquire) next = nullptr;
  const int initialise = Next(next, "__cxa_guard_acquire")(guard);
  if (initialise != 0) DisableForLock();
  return initialise;
}

void __cxa_guard_release(long long* guard) noexcept {
  static decltype(&::__cxa_guard_release) next = nullptr;
  Next(next, "__cxa_guard_release")(guard);
  EnableAfterLock();
}

void __cxa_guard_abort(long long* guard) noexcept {
  static decltype(&::__cxa_guard_abort) next = nullptr;
  Next(next, "__cxa_guard_abort")(guard);
  EnableAfterLock();
}

// The loader's lock knows kernel threads only: a second task of the core would
// get it while constructors of the first one's library run. By the linker's
// --wrap, for the program's own calls: dlopen() looks at who calls it.
extern "C" {
void* __real_dlopen(const char* file, int mode);
int __real_dlclose(void* handle);
}

extern "C" void* __wrap_dlopen(const char* file, int mode) {
  DisableForLock();
  void* const handle = __real_dlopen(file, mode);
  EnableAfterLock();
  return handle;
}

extern "C" int __wrap_dlclose(void* handle) {
  DisableForLock();
  const int result = __real_dlclose(handle);
  EnableAfterLock();
  return result;
}

#endif  // YAMANOTE_UNDER_TSAN

// What --undefined names, so that the linker takes this file.
extern "C" const int yamanote_locks = 1;
