// thread.h - user threads: std::thread's shape, tens of nanoseconds to start.
//
// A thread belongs to the process's Runtime; the order and placement that the
// runtime was configured with decide when it runs, and where. It may block in
// any call of Yamanote's; a call that blocks in the kernel holds its core.
//
//   yamanote::Thread worker([&] { Work(); });
//   worker.join();
//
// Not carried from one core to another: errno and thread_local variables. Read
// them before the next call that may block; use TaskLocal<T> for the rest.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <stop_token>
#include <system_error>
#include <type_traits>
#include <utility>

#include "yamanote/result.h"
#include "yamanote/stop.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote {

namespace worker {
class UserThread;
}

struct ThreadOptions {
  // Shown by diagnostics. Must outlive the thread: usually a literal.
  const char* name = "";
  ClassId request_class = 0;
  uint16_t weight = 1;
  Instant deadline = kNever;
};

namespace detail {

// The seam between the templates below and the engine.
inline constexpr size_t kInlineBytes = 96;
struct Fresh {
  worker::UserThread* thread;
  void* storage;  // kInlineBytes.
};
Fresh NewThread();  // nullptr: max_threads are alive, or no runtime.
void Launch(worker::UserThread& thread, const ThreadOptions& options,
            void (*run)(void* storage));
Error CannotSpawn();

template <typename F>
void RunInline(void* storage) {
  F* const function = std::launder(static_cast<F*>(storage));
  // A thread must not throw; as for std::thread, it ends the program.
  [&]() noexcept { (*function)(); }();
  function->~F();
}

template <typename F>
void RunBoxed(void* storage) {
  const std::unique_ptr<F> function(*static_cast<F**>(storage));
  [&]() noexcept { (*function)(); }();
}

template <typename F>
worker::UserThread* Spawn(const ThreadOptions& options, F&& function) {
  using Function = std::decay_t<F>;
  const auto [thread, storage] = NewThread();
  if (thread == nullptr) return nullptr;
  if constexpr (sizeof(Function) <= kInlineBytes && alignof(Function) <= 16) {
    ::new (storage) Function(std::forward<F>(function));
    Launch(*thread, options, &RunInline<Function>);
  } else {
    *static_cast<Function**>(storage) = new Function(std::forward<F>(function));
    Launch(*thread, options, &RunBoxed<Function>);
  }
  return thread;
}

}  // namespace detail

class Thread {
 public:
  using id = uint64_t;

  Thread() noexcept = default;

  // Starts `function` as a user thread. Throws std::system_error
  // (resource_unavailable_try_again) if max_threads are alive or the process
  // has no Runtime; Spawn() is the same without the exception. Any thread.
  template <typename F>
    requires std::is_invocable_v<std::decay_t<F>&> &&
             (!std::is_same_v<std::decay_t<F>, Thread>)
  explicit Thread(F&& function)
      : Thread(ThreadOptions{}, std::forward<F>(function)) {}

  template <typename F>
    requires std::is_invocable_v<std::decay_t<F>&>
  Thread(const ThreadOptions& options, F&& function)
      : thread_(detail::Spawn(options, std::forward<F>(function))) {
    if (thread_ == nullptr) {
      throw std::system_error(
          std::make_error_code(std::errc::resource_unavailable_try_again),
          detail::CannotSpawn().message);
    }
  }

  // As the constructor; kResourceExhausted or kUnavailable instead of throwing.
  template <typename F>
  static Result<Thread> Spawn(const ThreadOptions& options, F&& function) {
    Thread thread;
    thread.thread_ = detail::Spawn(options, std::forward<F>(function));
    if (thread.thread_ == nullptr) return tl::unexpected(detail::CannotSpawn());
    return thread;
  }

  Thread(Thread&& other) noexcept
      : thread_(std::exchange(other.thread_, nullptr)) {}
  Thread& operator=(Thread&& other) noexcept {
    if (joinable()) std::terminate();
    thread_ = std::exchange(other.thread_, nullptr);
    return *this;
  }
  // Ends the program if the thread was neither joined nor detached.
  ~Thread() {
    if (joinable()) std::terminate();
  }

  bool joinable() const noexcept { return thread_ != nullptr; }

  // Waits until the thread has finished. Requires joinable(), and not on
  // itself. Callable on user threads and on kernel threads.
  void join();

  // As join(), but returns false, the thread still joinable, if it has not
  // finished at `deadline` or when `stop` is requested.
  bool join_until(Instant deadline, const std::stop_token& stop = {});

  // Lets the thread run on its own. Requires joinable().
  void detach();

  // Unique among the threads alive; 0 if not joinable.
  id get_id() const noexcept;

 private:
  worker::UserThread* thread_ = nullptr;
};

// A Thread that asks its function to stop and joins when it goes away, as
// std::jthread. The function may take a std::stop_token.
class JThread {
 public:
  JThread() noexcept = default;
  template <typename F>
    requires(!std::is_same_v<std::decay_t<F>, JThread>)
  explicit JThread(F&& function)
      : JThread(ThreadOptions{}, std::forward<F>(function)) {}
  template <typename F>
  JThread(const ThreadOptions& options, F&& function) {
    if constexpr (std::is_invocable_v<std::decay_t<F>&, std::stop_token>) {
      thread_ = Thread(
          options, [function = std::forward<F>(function),
                    token = stop_.get_token()]() mutable { function(token); });
    } else {
      thread_ = Thread(options, std::forward<F>(function));
    }
  }
  JThread(JThread&&) noexcept = default;
  JThread& operator=(JThread&& other) noexcept {
    Finish();
    stop_ = std::move(other.stop_);
    thread_ = std::move(other.thread_);
    return *this;
  }
  ~JThread() { Finish(); }

  bool request_stop() noexcept { return stop_.request_stop(); }
  std::stop_token get_stop_token() const noexcept { return stop_.get_token(); }
  bool joinable() const noexcept { return thread_.joinable(); }
  void join() { thread_.join(); }
  void detach() { thread_.detach(); }

 private:
  void Finish() {
    if (!thread_.joinable()) return;
    stop_.request_stop();
    thread_.join();
  }

  std::stop_source stop_;
  Thread thread_;
};

// Gives way if the caller's slice is over and something waits: a voluntary
// preemption point for long computations. Costs a clock read where slices are
// configured, a few nanoseconds elsewhere. No effect on a plain kernel thread.
// Returns whether it gave way; not within a NoPreempt, nor while the caller holds a lock
// of the process (docs/preemption-safety.md).
// In code with probes leave it out, or call it more often than a slice: a task that calls it
// is taken to keep its own time. Where no core polls, its probes then no longer read the
// clock, and it gives way at its next call or at the kernel's tick (4 to 8 ms).
bool CheckPreempt();

namespace this_thread {

// Gives way to whatever the order puts next. On a kernel thread: sched_yield().
void yield();

// Blocks the caller; other threads run meanwhile. Returns false if `stop` was
// requested before the time was over.
bool sleep_until(Instant when, const std::stop_token& stop = {});
inline bool sleep_for(Duration duration, const std::stop_token& stop = {}) {
  return sleep_until(DeadlineIn(duration), stop);
}

// The name and id that the thread was started with; "" and 0 on a kernel
// thread.
const char* name();
Thread::id get_id();

// True on a user thread.
bool is_user_thread();

}  // namespace this_thread
}  // namespace yamanote
