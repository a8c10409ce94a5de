// works_marked.cc - code without probes that a signal may stop at any instruction
// (YAMANOTE_INTERRUPTIBLE). Not compiled with probes, so that every preemption of
// these works is a signal's, but for those at the end of a NoPreempt.
//
// Each takes some tens of microseconds at a time: less than a signal costs would
// mostly be missed.

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/preempt/works.h"
#include "yamanote/preempt.h"
#include "yamanote/thread.h"

namespace yamanote::tests {
namespace {

// The carry of each addition lives in the flags until the next instruction.
YAMANOTE_INTERRUPTIBLE uint64_t Carries(uint64_t seed, int times) {
  uint64_t low = seed;
  uint64_t high = ~seed;
  for (int i = times; i > 0; --i) {
    asm volatile(
        "addq %2, %0\n\t"
        "adcq %0, %1\n\t"
        "rclq $1, %0"
        : "+&r"(low), "+&r"(high)
        : "r"(0x9e3779b97f4a7c15ULL)
        : "cc");
  }
  return low ^ high;
}

bool Flags(unsigned task, unsigned round) {
  const uint64_t once = Carries(task + round, 10'000);
  return once == Carries(task + round, 10'000);
}

// Downwards, so that the direction flag is set, and stopped between two bytes.
YAMANOTE_INTERRUPTIBLE void CopyDown(unsigned char* to,
                                     const unsigned char* from, size_t size) {
  to += size - 1;
  from += size - 1;
  asm volatile(
      "std\n\t"
      "rep movsb\n\t"
      "cld"
      : "+D"(to), "+S"(from), "+c"(size)
      :
      : "cc", "memory");
}

bool Strings(unsigned task, unsigned round) {
  std::vector<unsigned char> from(16'384);
  for (size_t i = 0; i < from.size(); ++i)
    from[i] = static_cast<unsigned char>(i * 31 + task + round);
  std::vector<unsigned char> to(from.size());
  CopyDown(to.data(), from.data(), from.size());
  return to == from;
}

// What leaf functions keep below the stack pointer.
YAMANOTE_INTERRUPTIBLE int KeepsInRedZone(uint64_t mark, int times) {
  asm volatile(
      "leaq -128(%%rsp), %%rsp\n\t"  // The compiler's own one stays.
      "1:\n\t"
      "movq %1, -8(%%rsp)\n\t"
      "movq %1, -72(%%rsp)\n\t"
      "movq %1, -128(%%rsp)\n\t"
      "movl $40, %%ecx\n\t"
      "2:\n\t"
      "decl %%ecx\n\t"
      "jnz 2b\n\t"
      "cmpq %1, -8(%%rsp)\n\t"
      "jne 3f\n\t"
      "cmpq %1, -72(%%rsp)\n\t"
      "jne 3f\n\t"
      "cmpq %1, -128(%%rsp)\n\t"
      "jne 3f\n\t"
      "incq %1\n\t"
      "decl %0\n\t"
      "jnz 1b\n\t"
      "3:\n\t"
      "leaq 128(%%rsp), %%rsp"
      : "+&r"(times), "+&r"(mark)
      :
      : "rcx", "cc", "memory");
  return times;
}

bool RedZone(unsigned task, unsigned round) {
  return KeepsInRedZone(uint64_t{task} << 32 | round, 1000) == 0;
}

typedef uint32_t Sse [[gnu::vector_size(16)]];
typedef uint32_t Avx [[gnu::vector_size(32)]];
typedef uint32_t Avx512 [[gnu::vector_size(64)]];

// Two vectors that are only in registers. A macro, as a template's instance would be
// compiled for the least of the processors.
#define YAMANOTE_VECTOR_SUM(Vector)                                           \
  asm volatile("" : "+r"(task)); /* Else one call would be as good as two. */ \
  Vector a{};                                                                 \
  Vector b{};                                                                 \
  for (size_t i = 0; i < sizeof(Vector) / sizeof(uint32_t); ++i) {            \
    a[i] = static_cast<uint32_t>(i * 2654435761U + task);                     \
    b[i] = static_cast<uint32_t>(i + 1);                                      \
  }                                                                           \
  for (int i = 0; i < 20000; ++i) {                                           \
    a = a * 1664525U + b;                                                     \
    b = b ^ (a >> 3);                                                         \
  }                                                                           \
  uint32_t folded = 0;                                                        \
  for (size_t i = 0; i < sizeof(Vector) / sizeof(uint32_t); ++i)              \
    folded = folded * 31 + a[i] + b[i];                                       \
  return folded

YAMANOTE_INTERRUPTIBLE uint32_t SseSum(unsigned task) {
  YAMANOTE_VECTOR_SUM(Sse);
}
[[gnu::target("avx2")]] YAMANOTE_INTERRUPTIBLE uint32_t AvxSum(unsigned task) {
  YAMANOTE_VECTOR_SUM(Avx);
}
[[gnu::target("avx512f")]] YAMANOTE_INTERRUPTIBLE uint32_t
Avx512Sum(unsigned task) {
  YAMANOTE_VECTOR_SUM(Avx512);
}

bool SseVectors(unsigned task, unsigned) {
  const uint32_t once = SseSum(task);
  return once == SseSum(task);
}

bool AvxVectors(unsigned task, unsigned) {
  if (!__builtin_cpu_supports("avx2")) return SseVectors(task, 0);
  const uint32_t once = AvxSum(task);
  return once == AvxSum(task);
}

bool Avx512Vectors(unsigned task, unsigned) {
  if (!__builtin_cpu_supports("avx512f")) return SseVectors(task, 0);
  const uint32_t once = Avx512Sum(task);
  return once == Avx512Sum(task);
}

YAMANOTE_INTERRUPTIBLE long double LongSum(unsigned task) {
  asm volatile("" : "+r"(task));
  long double total = 1;
  for (int i = 1; i < 4000; ++i) total = total * 1.0001L + task / 3.0L;
  return total;
}

bool LongDoubles(unsigned task, unsigned) {
  const long double once = LongSum(task);
  return once == LongSum(task);
}

// Stopped in the middle of a call, of a prologue, of a return.
// NOLINTNEXTLINE(misc-no-recursion)
YAMANOTE_INTERRUPTIBLE uint64_t Fibonacci(unsigned n) {
  return n < 2 ? n : Fibonacci(n - 1) + Fibonacci(n - 2);
}

bool Recursion(unsigned, unsigned) { return Fibonacci(18) == 2584; }

// Calls what is not marked, and is stopped around it only.
YAMANOTE_INTERRUPTIBLE bool UsesMalloc(unsigned task) {
  std::array<unsigned*, 32> blocks{};
  bool right = true;
  for (unsigned i = 0; i < 500; ++i) {
    unsigned*& block = blocks[i * 7 % blocks.size()];
    if (block != nullptr) {
      right = right && block[0] == task && block[1] == task + i - 32;
      std::free(block);
    }
    block = static_cast<unsigned*>(std::malloc(8 + i % 200));
    block[0] = task;
    block[1] = task + i;
  }
  for (unsigned* const block : blocks) std::free(block);
  return right;
}

bool Malloc(unsigned task, unsigned) { return UsesMalloc(task); }

YAMANOTE_INTERRUPTIBLE bool ThrowsAndCatches(int value) {
  try {
    if (Carries(1, 500) != 0) throw value;
  } catch (int caught) {
    return Carries(2, 500) != 0 && caught == value;
  }
  return false;
}

bool Exceptions(unsigned task, unsigned round) {
  bool right = true;
  for (int i = 0; i < 10; ++i)
    right = right && ThrowsAndCatches(static_cast<int>(task + round) + i);
  return right && std::uncaught_exceptions() == 0;
}

// Who holds a lock of the process is not stopped, in marked code either: with one
// core the next one to want it would wait for ever.
bool Mutex(unsigned task, unsigned) {
  static std::mutex mutex;
  static uint64_t counter = 0;
  bool right = true;
  for (int i = 0; i < 10; ++i) {
    {
      const std::lock_guard guard(mutex);
      const uint64_t before = counter;
      right = right && Carries(task, 1000) != 0 && counter == before;
      counter = before + 1;
    }
    right = right && Carries(task, 1000) != 0;
  }
  return right;
}

bool Guards(unsigned task, unsigned) {
  bool right = true;
  for (int i = 0; i < 10; ++i) {
    {
      const NoPreempt guard;
      const std::thread::id here = std::this_thread::get_id();
      right = right && Carries(task, 1000) != 0 &&
              here == std::this_thread::get_id();
    }
    right = right && Carries(task, 1000) != 0;
  }
  return right;
}

YAMANOTE_INTERRUPTIBLE bool YieldsBetween(unsigned task) {
  const uint64_t once = Carries(task, 500);
  for (int i = 0; i < 20; ++i) {
    this_thread::yield();
    if (Carries(task, 500) != once) return false;
  }
  return true;
}

bool Yields(unsigned task, unsigned) { return YieldsBetween(task); }

}  // namespace

std::vector<NamedWork> MarkedWorks() {
  return {{"marked_flags", &Flags},
          {"marked_strings", &Strings},
          {"marked_red_zone", &RedZone},
          {"marked_sse", &SseVectors},
          {"marked_avx", &AvxVectors},
          {"marked_avx512", &Avx512Vectors},
          {"marked_long_double", &LongDoubles},
          {"marked_recursion", &Recursion},
          {"marked_malloc", &Malloc},
          {"marked_exceptions", &Exceptions},
          {"marked_mutex", &Mutex},
          {"marked_guards", &Guards},
          {"marked_yields", &Yields}};
}

}  // namespace yamanote::tests
