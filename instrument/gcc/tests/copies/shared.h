// shared.h - inline functions of every kind that two kinds of units have.
//
// Each has a loop, so a copy with probes is noticed when it runs. None is inlined.

#ifndef YAMANOTE_INSTRUMENT_GCC_TESTS_COPIES_SHARED_H_
#define YAMANOTE_INSTRUMENT_GCC_TESTS_COPIES_SHARED_H_

#include <coroutine>
#include <cstdint>
#include <exception>

namespace shared {

[[gnu::noinline]] inline uint64_t Inline(uint64_t n) {
  uint64_t sum = 1;
  for (uint64_t i = 0; i < n; ++i) sum = sum * 31 + i;
  return sum;
}

extern "C" [[gnu::noinline]] inline uint64_t shared_c(uint64_t n) {
  uint64_t sum = 2;
  for (uint64_t i = 0; i < n; ++i) sum = sum * 37 + i;
  return sum;
}

template <typename T>
[[gnu::noinline]] T Template(T n) {
  T sum = 3;
  for (T i = 0; i < n; ++i) sum = sum * 41 + i;
  return sum;
}

// Its constructor's and destructor's variants are aliases.
class Base {
 public:
  [[gnu::noinline]] explicit Base(uint64_t n) : value_(Template(n)) {}
  [[gnu::noinline]] virtual ~Base() { last = Template(value_ % 9 + 1); }
  [[gnu::noinline]] virtual uint64_t Virtual(uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) value_ = value_ * 43 + i;
    return value_;
  }
  virtual Base* Self() { return this; }

  static inline uint64_t last = 0;

 protected:
  uint64_t value_;
};

// Thunks for virtual bases and for results of another type.
class Left : public virtual Base {
 public:
  Left() : Base(4) {}
  uint64_t Virtual(uint64_t n) override { return Base::Virtual(n) + 1; }
  Left* Self() override { return this; }
};
class Right : public virtual Base {
 public:
  Right() : Base(5) {}
  uint64_t right = 6;
};
class Both : public Left, public Right {
 public:
  Both() : Base(7) {}
  ~Both() override { last += right; }
  [[gnu::noinline]] uint64_t Virtual(uint64_t n) override {
    return Left::Virtual(n) + right;
  }
  Both* Self() override { return this; }
};

// By way of the vtable that the linker keeps, whose unit is either kind.
[[gnu::noinline]] inline uint64_t ByVtable(uint64_t n) {
  Both both;
  Base* base = &both;
  asm volatile("" : "+r"(base));
  return base->Self()->Virtual(n);
}

[[gnu::noinline]] inline uint64_t Throws(uint64_t n) {
  const uint64_t sum = Inline(n);
  if (n % 2 == 0) throw sum;
  return sum;
}

[[gnu::noinline]] inline uint64_t Catches(uint64_t n) {
  try {
    return Throws(n);
  } catch (uint64_t sum) {
    return sum + 1;
  }
}

[[gnu::noinline]] inline uint64_t Lambda(uint64_t n) {
  const auto lambda = [n](uint64_t start) __attribute__((noinline)) {
    for (uint64_t i = 0; i < n; ++i) start = start * 47 + i;
    return start;
  };
  return lambda(8);
}

[[gnu::noinline]] inline uint64_t LocalClass(uint64_t n) {
  struct Local {
    uint64_t value;
    [[gnu::noinline]] uint64_t Get(uint64_t rounds) {
      for (uint64_t i = 0; i < rounds; ++i) value = value * 53 + i;
      return value;
    }
  };
  return Local{9}.Get(n);
}

struct Task {
  struct promise_type {
    Task get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};
inline Task Coroutine(uint64_t n, uint64_t* result) {
  *result = Inline(n);
  co_await std::suspend_never{};
  *result += Template(n);
}

// One counter for all units, started once.
[[gnu::noinline]] inline uint64_t* Counter() {
  static uint64_t count = Inline(3);
  return &count;
}
inline uint64_t initialised = Inline(4);
inline thread_local uint64_t of_thread = Inline(5);

// Its labels are in a variable, which is one for all units; so must the code be.
[[gnu::noinline]] inline uint64_t Labels(uint64_t n) {
  static const void* const kWays[] = {&&even, &&odd};
  uint64_t sum = 10;
  for (uint64_t i = 0; i < n; ++i) {
    goto* kWays[(sum >> 3) % 2];
  even:
    sum = sum * 59 + i;
    continue;
  odd:
    sum = sum * 61 + i;
  }
  return sum;
}

// These keep their names; so both kinds of units run the same copy.
[[gnu::used]] inline uint64_t Used(uint64_t n) { return n + 1; }
[[gnu::target("avx2")]] inline uint64_t Versions(uint64_t n) { return n + 3; }
[[gnu::target("default")]] inline uint64_t Versions(uint64_t n) {
  return n + 3;
}
inline uint64_t Named(uint64_t n) __asm__("shared_named");
inline uint64_t Named(uint64_t n) { return n + 2; }
template <typename T>
struct Explicit {
  [[gnu::noinline]] T Get(T n) { return n + of_thread; }
  T More(T n);
};
template <typename T>
T Explicit<T>::More(T n) {
  return Get(n) + 1;
}
extern template struct Explicit<uint64_t>;

}  // namespace shared

#endif  // YAMANOTE_INSTRUMENT_GCC_TESTS_COPIES_SHARED_H_
