// task_local.h - a variable of which every thread has its own.
//
//   static yamanote::TaskLocal<int> depth;
//   ++*depth;
//
// "Thread" is the user thread, or the plain kernel thread where there is none;
// C++ thread_local would be shared by all user threads of a core and change
// under a user thread that moves to another. A request handler has its own too.
//
// A thread's value is made at its first use and destroyed when the thread ends,
// the last made first; destructors may use other TaskLocals (up to 8 rounds;
// what is made even then aborts) and may block. A kernel thread's are destroyed
// with its thread_locals.
//
// The key must outlive its use, not the values: destroying a TaskLocal leaves
// the values to their threads' ends. At most kMaxTaskLocals keys per process,
// ever; constructing one more aborts. So make them static.
//
// Cost: a call and two loads. Any thread; values are not shared, so no locks.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

namespace yamanote {

inline constexpr uint32_t kMaxTaskLocals = 1024;

namespace worker {

// Returns a new key's index.
uint32_t NewTaskLocalKey();
// Returns the calling thread's value under `key`, nullptr if it has none.
void* FindTaskLocal(uint32_t key);
// Sets it; `destroy` gets it at the thread's end. Requires: it has none.
void SetTaskLocal(uint32_t key, void* value, void (*destroy)(void*));
// Destroys it, if there is one.
void ResetTaskLocal(uint32_t key);

}  // namespace worker

template <typename T>
class TaskLocal {
 public:
  // Values begin as T().
  TaskLocal() : TaskLocal([] { return T(); }) {}
  // Values begin as make(), called on the thread whose value it is.
  explicit TaskLocal(std::function<T()> make)
      : key_(worker::NewTaskLocalKey()), make_(std::move(make)) {}
  TaskLocal(const TaskLocal&) = delete;
  TaskLocal& operator=(const TaskLocal&) = delete;

  // Returns the calling thread's value, made now if need be. What make() throws
  // passes through, and leaves no value.
  T& get() {
    if (void* const value = worker::FindTaskLocal(key_)) {
      return *static_cast<T*>(value);
    }
    return Make();
  }
  T& operator*() { return get(); }
  T* operator->() { return &get(); }

  // Returns whether the calling thread has a value yet.
  bool has_value() const { return worker::FindTaskLocal(key_) != nullptr; }

  // Destroys the calling thread's value; the next use makes a new one.
  void reset() { worker::ResetTaskLocal(key_); }

 private:
  T& Make() {
    T* const value = new T(make_());
    worker::SetTaskLocal(key_, value,
                         [](void* p) { delete static_cast<T*>(p); });
    return *value;
  }

  const uint32_t key_;
  const std::function<T()> make_;
};

}  // namespace yamanote
