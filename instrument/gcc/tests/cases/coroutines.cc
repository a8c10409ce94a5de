// coroutines.cc - coroutines with loops, and a chain of them that jumps on.

#include <coroutine>
#include <cstdint>
#include <exception>
#include <utility>

namespace {

class Generator {
 public:
  struct promise_type {
    uint64_t value = 0;
    Generator get_return_object() {
      return Generator(
          std::coroutine_handle<promise_type>::from_promise(*this));
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

  explicit Generator(std::coroutine_handle<promise_type> handle)
      : handle_(handle) {}
  Generator(const Generator&) = delete;
  ~Generator() { handle_.destroy(); }

  bool Next() {
    handle_.resume();
    return !handle_.done();
  }
  uint64_t Value() const { return handle_.promise().value; }

 private:
  std::coroutine_handle<promise_type> handle_;
};

thread_local uint64_t seen = 0;

Generator Numbers(uint64_t count) {
  uint64_t value = 1;
  for (uint64_t i = 0; i < count; ++i) {
    for (uint64_t k = 0; k < 20 + i; ++k) value = value * 29 + k;
    co_yield value;
  }
}

// Its body uses a thread_local, so it is guarded each time that it runs.
Generator Counted(uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    seen += i;
    co_yield seen;
  }
}

}  // namespace

extern "C" uint64_t case_coroutines() {
  uint64_t result = 0;
  Generator numbers = Numbers(20);
  Generator counted = Counted(25);
  while (numbers.Next()) {
    result = result * 3 + numbers.Value();
    if (counted.Next()) result += counted.Value();
  }
  return result;
}
