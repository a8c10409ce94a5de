// works_language.cc - what the language keeps per thread or on the stack:
// exceptions, thread_local, floating point, vectors, coroutines, recursion.

#include <alloca.h>
#include <setjmp.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <cmath>
#include <coroutine>
#include <cstdint>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/preempt/visits.h"
#include "tests/preempt/works.h"
#include "yamanote/preempt.h"

namespace yamanote::tests {
namespace {

struct Counts {
  explicit Counts(int& n) : count(n) { ++count; }
  ~Counts() {
    Linger(20);
    --count;
  }
  int& count;
};

// NOLINTNEXTLINE(misc-no-recursion)
int Throw(int depth, int& alive) {
  const Counts counts(alive);
  if (depth == 0) throw std::runtime_error("bottom");
  try {
    return Throw(depth - 1, alive) + 1;
  } catch (const std::runtime_error& error) {
    Linger(20);
    if (depth % 3 == 0) throw std::runtime_error(error.what());
    if (depth % 3 == 1) throw;
    return depth;
  }
}

// What is being handled, and not a copy of it.
const std::runtime_error& CurrentError() {
  try {
    throw;
  } catch (const std::runtime_error& error) {
    Linger(20);
    return error;
  }
}

// Preempted while exceptions are thrown, caught, and in flight.
bool Exceptions(unsigned task, unsigned) {
  int alive = 0;
  bool right = true;
  for (int depth = 1; depth < 7; ++depth) {
    try {
      right = Throw(depth, alive) >= 2 && right;
    } catch (const std::runtime_error& error) {
      right = right && std::string(error.what()) == "bottom" &&
              std::uncaught_exceptions() == 0;
      try {
        throw task;
      } catch (unsigned number) {
        Linger(20);
        right = right && number == task;
      }
      // The outer one is still the current exception of this task.
      right = right && &CurrentError() == &error;
    }
  }
  return right && alive == 0 && std::current_exception() == nullptr;
}

// Two halves that must agree: a task that was preempted between their updates
// would let another see them differ.
struct Pair {
  uint64_t first = 0;
  uint64_t second = 0;
};
thread_local Pair t_pair;

[[gnu::noinline]] bool BumpPair() {
  bool right = true;
  for (int i = 0; i < 50; ++i) {
    right = right && t_pair.first == t_pair.second;
    t_pair.first += 1;
    Linger(5);
    t_pair.second += 1;
  }
  return right;
}

bool ThreadLocal(unsigned, unsigned) {
  const bool right = BumpPair();
  Linger(20);
  return right;
}

// With probes of its own.
[[gnu::noinline]] void LingerBelow() { Linger(100); }

// Without a thread_local, which would keep preemption off by itself.
YAMANOTE_NO_PREEMPT [[gnu::noinline]] bool Excluded() {
  static Visits visits;
  const Visits::Stretch stretch = visits.Begin();
  LingerBelow();
  return visits.Undisturbed(stretch);
}

bool Attribute(unsigned, unsigned) {
  const bool right = Excluded();
  Linger(20);
  return right;
}

bool Guards(unsigned, unsigned) {
  static Visits visits;
  bool right = true;
  for (int i = Unknown(20); i > 0; --i) {
    const NoPreempt outer;
    const Visits::Stretch stretch = visits.Begin();
    CallSafe([] { Linger(30); });
    Linger(10);
    right = right && visits.Undisturbed(stretch);
  }
  return right;
}

bool Floats(unsigned task, unsigned round) {
  const auto sum = [&] {
    double total = 0;
    for (int i = 1; i < 300; ++i)
      total += std::sin(i * 0.1 + task) * std::sqrt(i + round % 7);
    return total;
  };
  const double once = sum();
  return once == sum();
}

bool LongDoubles(unsigned task, unsigned) {
  const auto sum = [&] {
    long double total = 1;
    for (int i = 1; i < 200; ++i) total = total * 1.0001L + (i ^ task) / 3.0L;
    return total;
  };
  const long double once = sum();
  return once == sum();
}

// Vector registers are live across the loop's probes.
template <typename Vector>
bool Vectors(unsigned task) {
  constexpr size_t kLanes = sizeof(Vector) / sizeof(uint32_t);
  const auto run = [task] {
    Vector a{};
    Vector b{};
    for (size_t i = 0; i < kLanes; ++i) {
      a[i] = static_cast<uint32_t>(i * 2654435761U + task);
      b[i] = static_cast<uint32_t>(i + 1);
    }
    for (int i = Unknown(300); i > 0; --i) {
      a = a * 1664525U + b;
      b = b ^ (a >> 3);
    }
    uint32_t folded = 0;
    for (size_t i = 0; i < kLanes; ++i) folded = folded * 31 + a[i] + b[i];
    return folded;
  };
  const uint32_t once = run();
  return once == run();
}

typedef uint32_t Sse [[gnu::vector_size(16)]];
typedef uint32_t Avx [[gnu::vector_size(32)]];
typedef uint32_t Avx512 [[gnu::vector_size(64)]];

bool HasAvx2() { return __builtin_cpu_supports("avx2") != 0; }
bool HasAvx512() { return __builtin_cpu_supports("avx512f") != 0; }

bool SseVectors(unsigned task, unsigned) { return Vectors<Sse>(task); }

[[gnu::target("avx2")]] uint32_t AvxSum(unsigned task) {
  Avx a{};
  for (int i = 0; i < 8; ++i) a[i] = task + static_cast<uint32_t>(i);
  for (int i = Unknown(300); i > 0; --i) a = a * 1664525U + 1013904223U;
  uint32_t folded = 0;
  for (int i = 0; i < 8; ++i) folded = folded * 31 + a[i];
  return folded;
}

bool AvxVectors(unsigned task, unsigned) {
  if (!HasAvx2()) return true;
  const uint32_t once = AvxSum(task);
  return once == AvxSum(task);
}

[[gnu::target("avx512f")]] uint32_t Avx512Sum(unsigned task) {
  Avx512 a{};
  for (int i = 0; i < 16; ++i) a[i] = task + static_cast<uint32_t>(i);
  for (int i = Unknown(300); i > 0; --i) a = a * 1664525U + 1013904223U;
  uint32_t folded = 0;
  for (int i = 0; i < 16; ++i) folded = folded * 31 + a[i];
  return folded;
}

bool Avx512Vectors(unsigned task, unsigned) {
  if (!HasAvx512()) return true;
  const uint32_t once = Avx512Sum(task);
  return once == Avx512Sum(task);
}

// NOLINTNEXTLINE(misc-no-recursion)
uint64_t Fibonacci(unsigned n) {
  return n < 2 ? n : Fibonacci(n - 1) + Fibonacci(n - 2);
}

bool Recursion(unsigned, unsigned) { return Fibonacci(13) == 233; }

bool Alloca(unsigned task, unsigned round) {
  const size_t size = 16 + (task * 37 + round) % 500;
  auto* const bytes = static_cast<unsigned char*>(alloca(size));
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<unsigned char>(i);
  for (size_t i = 0; i < size; ++i) {
    if (bytes[i] != static_cast<unsigned char>(i)) return false;
  }
  return true;
}

struct Generator {
  struct promise_type {
    unsigned value = 0;
    Generator get_return_object() {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(unsigned v) {
      value = v;
      return {};
    }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

Generator CountTo(unsigned n) {
  for (unsigned i = 0; i < n; ++i) co_yield i;
}

bool Coroutines(unsigned, unsigned) {
  const Generator generator = CountTo(40);
  unsigned expected = 0;
  bool right = true;
  for (generator.handle.resume(); !generator.handle.done();
       generator.handle.resume())
    right = right && generator.handle.promise().value == expected++;
  generator.handle.destroy();
  return right && expected == 40;
}

// A handler of the application's own: another thread's signal finds the core in the
// middle of anything, with whichever task is there by then.
std::atomic<unsigned> g_signals{0};
std::atomic<unsigned> g_disturbed_handlers{0};
Visits g_signal_visits;

void OnSignal(int) {
  const Visits::Stretch stretch = g_signal_visits.Begin();
  Linger(50);
  if (!g_signal_visits.Undisturbed(stretch)) ++g_disturbed_handlers;
  g_signals.fetch_add(1);
}

bool Signals(unsigned, unsigned) {
  signal(SIGUSR1, &OnSignal);
  const unsigned before = g_signals.load();
  std::thread sender = SignalThisThread(SIGUSR1);
  while (g_signals.load() == before) {
    g_signal_visits.Begin();  // A handler that is preempted sees that.
    Linger(5);
  }
  sender.join();
  return g_disturbed_handlers.load() == 0;
}

bool Longjmp(unsigned task, unsigned) {
  jmp_buf out;
  volatile unsigned steps = 0;
  if (setjmp(out) == 0) {
    for (;;) {
      if (steps == 30 + task) longjmp(out, 1);
      steps = steps + 1;
    }
  }
  return steps == 30 + task;
}

}  // namespace

std::vector<NamedWork> LanguageWorks() {
  return {{"exceptions", &Exceptions},
          {"thread_local", &ThreadLocal},
          {"attribute", &Attribute},
          {"guards", &Guards},
          {"floats", &Floats},
          {"long_double", &LongDoubles},
          {"sse", &SseVectors},
          {"avx", &AvxVectors, HasAvx2()},
          {"avx512", &Avx512Vectors, HasAvx512()},
          {"recursion", &Recursion},
          {"alloca", &Alloca},
          {"coroutines", &Coroutines},
          {"signals", &Signals},
          {"longjmp", &Longjmp}};
}

}  // namespace yamanote::tests
