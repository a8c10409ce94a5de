// thread_local.h - reads a kernel thread's variable on a thread that may move.
//
// A compiler may compute a thread-local's address once in a function and use it
// again after a switch, when the caller is on another kernel thread. This read
// is done anew each time. Worker::This() and OwnRcuRecord() are made of it;
// other thread_locals of the worker room are read only where no switch can come
// between.

#pragma once

#if defined(__x86_64__)
// `name`: an extern "C" thread_local pointer with the initial-exec model.
#define YAMANOTE_READ_THREAD_LOCAL(value, name) \
  asm volatile("movq " #name                    \
               "@gottpoff(%%rip), %0\n\t"       \
               "movq %%fs:(%0), %0"             \
               : "=r"(value)                    \
               :                                \
               : "memory")
#else
// A function of its own, which no compiler looks into.
#define YAMANOTE_READ_THREAD_LOCAL(value, name) \
  value = [] [[gnu::noinline]] {                \
    auto* own = name;                           \
    asm volatile("" : "+r"(own));               \
    return own;                                 \
  }()
#endif
