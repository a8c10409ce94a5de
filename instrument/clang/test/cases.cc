// cases.cc - what C++ programs do around probes; see main.cc.

#include <algorithm>
#include <cerrno>
#include <coroutine>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "instrument/clang/test/stand_in.h"

#define NOINLINE [[gnu::noinline]]

namespace {

thread_local uint64_t t_counter = 0;
thread_local std::vector<int> t_numbers;  // With a constructor: by a wrapper.

// Another task's turn on this kernel thread.
void Spoil() {
  t_counter = 0xbad;
  errno = EBADMSG;
}

// Loops, so it has probes; the caller decides whether they are guarded.
NOINLINE uint64_t Mix(uint64_t seed, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i) {
    seed = (seed ^ i) * 0x9e3779b97f4a7c15ULL;
    asm volatile("" : "+r"(seed));
  }
  return seed;
}

// A scope whose probes must be (1) or must not be (0) guarded.
class Expect {
 public:
  explicit Expect(int guarded) : before_(g_stand_in.expect_guarded) {
    g_stand_in.expect_guarded = guarded;
  }
  ~Expect() { g_stand_in.expect_guarded = before_; }
  Expect(const Expect&) = delete;
  Expect& operator=(const Expect&) = delete;

 private:
  const int before_;
};

// Destroyed on the way of an exception.
struct Tally {
  explicit Tally(uint64_t* to) : sum(to) {}
  ~Tally() { *sum += Mix(*sum, 3) & 0xff; }
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;
  uint64_t* sum;
};

NOINLINE uint64_t Throwing(uint64_t n, uint64_t* sum) {
  for (uint64_t i = 0;; ++i) {
    const Tally tally(sum);
    if (i == n) throw std::out_of_range(std::to_string(i));
    if (i % 5 == 4) {
      try {
        throw static_cast<int>(i);
      } catch (int caught) {
        *sum += static_cast<uint64_t>(caught);
      }
    }
    *sum = Mix(*sum, i);
  }
}

NOINLINE uint64_t UsesThreadLocal(uint64_t n) {
  const Expect guarded(1);
  t_counter = 0;
  for (uint64_t i = 0; i < n; ++i) t_counter += Mix(i, 10) & 0xf;
  return t_counter;
}

NOINLINE uint64_t UsesConstructedThreadLocal(uint64_t n) {
  t_numbers.clear();
  const Expect guarded(1);
  for (uint64_t i = 0; i < n; ++i) {
    t_numbers.push_back(static_cast<int>(Mix(i, 3) & 0xff));
  }
  std::sort(t_numbers.begin(), t_numbers.end());
  return static_cast<uint64_t>(t_numbers[n / 2]);
}

// A guarded function within a guarded one keeps the outer guard.
NOINLINE uint64_t NestedGuards(uint64_t n) {
  t_counter = UsesThreadLocal(n);
  const uint64_t before = t_counter;
  const Expect guarded(1);
  Mix(1, 10);
  return before == t_counter ? before : ~before;
}

[[clang::annotate("yamanote_no_preempt"), gnu::always_inline]] inline uint64_t
Annotated(uint64_t n) {
  const Expect guarded(1);
  return Mix(n, 20);
}

NOINLINE uint64_t ThrowsGuarded(uint64_t n) {
  t_counter = n;
  const uint64_t mixed = Mix(n, 5);
  if (mixed % 2 == 0) throw std::runtime_error("even");
  return mixed + t_counter;
}

NOINLINE int64_t SumArguments(int count, ...) {
  std::va_list arguments;
  va_start(arguments, count);
  double sum = 0;
  for (int i = 0; i < count; ++i) {
    sum += i % 2 == 0 ? static_cast<double>(va_arg(arguments, int64_t))
                      : va_arg(arguments, double);
  }
  va_end(arguments);
  return static_cast<int64_t>(sum);
}

struct Generator {
  struct promise_type {
    uint64_t value = 0;
    Generator get_return_object() {
      return Generator{
          std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(uint64_t next) noexcept {
      value = next;
      return {};
    }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  explicit Generator(std::coroutine_handle<promise_type> coroutine)
      : handle(coroutine) {}
  Generator(Generator&& other) noexcept
      : handle(std::exchange(other.handle, nullptr)) {}
  ~Generator() {
    if (handle) handle.destroy();
  }
  std::coroutine_handle<promise_type> handle;
};

Generator Numbers(uint64_t n) {
  uint64_t state = 7;
  for (uint64_t i = 0; i < n; ++i) {
    for (int k = 0; k < 5; ++k) state = Mix(state, 2);
    co_yield state;
  }
}

struct Shape {
  virtual ~Shape() = default;
  virtual uint64_t Area(uint64_t scale) const = 0;
};
struct Square final : Shape {
  explicit Square(uint64_t s) : side(s) {}
  uint64_t Area(uint64_t scale) const override { return side * side * scale; }
  uint64_t side;
};
struct Bar final : Shape {
  explicit Bar(uint64_t l) : length(l) {}
  uint64_t Area(uint64_t scale) const override { return Mix(length, scale); }
  uint64_t length;
};

}  // namespace

extern "C" {

uint64_t case_exceptions(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; ++i) {
    try {
      sum += Throwing(i % 13, &sum);
    } catch (const std::out_of_range& error) {
      sum += static_cast<uint64_t>(error.what()[0]);
    }
  }
  return sum;
}

// The outer function is not guarded, what it calls is.
uint64_t case_thread_local(uint64_t n) {
  g_stand_in.on_turn = Spoil;
  uint64_t sum = 0;
  for (uint64_t i = 1; i < n; ++i) {
    sum = sum * 31 + UsesThreadLocal(i);
    sum = sum * 31 + UsesConstructedThreadLocal(i);
    sum = sum * 31 + NestedGuards(i);
    const Expect unguarded(0);
    sum ^= Mix(sum, 5);
  }
  g_stand_in.on_turn = nullptr;
  return sum;
}

uint64_t case_annotated(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 1; i < n; ++i) {
    sum ^= Annotated(i);
    const Expect unguarded(0);
    sum ^= Mix(sum, 5);
  }
  return sum;
}

// Exceptions leave guards behind, until the next probe further up.
uint64_t case_thread_local_unwound(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; ++i) {
    try {
      sum += ThrowsGuarded(i);
    } catch (const std::runtime_error&) {
      sum += 3;
    }
    for (uint64_t k = 0; k < n; ++k) asm volatile("" : "+r"(sum));
    const Expect unguarded(0);
    Mix(1, 2);
  }
  return sum;
}

uint64_t case_errno(uint64_t n) {
  g_stand_in.on_turn = Spoil;
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < n; ++i) {
    errno = 0;
    Mix(i, 5);
    const std::string text = std::to_string(i * 1000000000000000000ULL);
    (void)std::strtol(text.c_str(), nullptr, 10);
    wrong = wrong * 3 + static_cast<uint64_t>(errno);
  }
  g_stand_in.on_turn = nullptr;
  return wrong + Mix(n, 9);
}

uint64_t case_varargs(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; ++i) {
    const auto k = static_cast<int64_t>(i);
    sum += static_cast<uint64_t>(SumArguments(10, k, 1.5, k + 1, 2.5, k + 2,
                                              3.5, k + 3, 4.5, k + 4, 5.5));
  }
  return sum;
}

uint64_t case_wide_numbers(uint64_t n) {
  __extension__ using Wide = unsigned __int128;
  Wide product = 1;
  for (uint64_t i = 1; i <= n; ++i) {
    product = product * (2 * i + 1) + (product >> 77);
    if (product % 97 == 3) product -= i;
  }
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t case_floats(uint64_t n) {
  std::vector<float> numbers(n);
  for (uint64_t i = 0; i < n; ++i) numbers[i] = static_cast<float>(i % 17);
  for (int round = 0; round < 4; ++round) {
    for (float& number : numbers) number = number * 0.5F + 3.0F;
  }
  double sum = 0;
  for (const float number : numbers) sum += static_cast<double>(number);
  return static_cast<uint64_t>(sum * 1024);
}

uint64_t case_coroutine(uint64_t n) {
  uint64_t sum = 0;
  const Generator numbers = Numbers(n);
  while (numbers.handle.resume(), !numbers.handle.done()) {
    sum = sum * 3 + numbers.handle.promise().value;
  }
  return sum;
}

uint64_t case_virtual_calls(uint64_t n) {
  std::vector<std::unique_ptr<Shape>> shapes;
  for (uint64_t i = 0; i < n; ++i) {
    if (i % 2 == 0) {
      shapes.push_back(std::make_unique<Square>(i));
    } else {
      shapes.push_back(std::make_unique<Bar>(i));
    }
  }
  uint64_t sum = 0;
  for (const auto& shape : shapes) sum += shape->Area(7);
  return sum;
}

NOINLINE uint64_t backtrace_inner(uint64_t n) {
  static const char* const kFrames[] = {"backtrace_inner", "backtrace_middle",
                                        "case_backtrace", "main", nullptr};
  uint64_t sum = n;
  g_stand_in.expect_frames = kFrames;
  for (uint64_t i = 0; i < n + 3; ++i) {
    sum = sum * 5 + i;
    asm volatile("" : "+r"(sum));
  }
  g_stand_in.expect_frames = nullptr;
  return sum;
}

NOINLINE uint64_t backtrace_middle(uint64_t n) {
  volatile uint64_t room[32];
  for (uint64_t i = 0; i < 32; ++i) room[i] = i;
  return backtrace_inner(n) + room[n % 32];
}

uint64_t case_backtrace(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; ++i) sum += backtrace_middle(i) * 3;
  return sum;
}

}  // extern "C"
