// child.h - processes of the benchmark, and memory that they share with it.
//
// Each party (a service, the daemon, a batch program) is a process of its own, as it is in
// life. They are forked before there is a second thread, so that all have one Clock, and
// the kernel ends them with their parent.

#pragma once

#include <sys/mman.h>
#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::bench {

class Child {
 public:
  Child() = default;
  // Runs `body` in a new process, which exits with what it returns. Requires: the caller
  // has no other thread. kResourceExhausted: the system refuses.
  static Result<Child> Fork(const std::function<int()>& body);
  Child(Child&& other) noexcept { *this = std::move(other); }
  Child& operator=(Child&& other) noexcept;
  ~Child() { End(); }

  bool Alive();
  // The processor time of all its threads so far; zero once it has ended.
  Duration Cpu() const;
  // Asks it to end (SIGTERM), and kills it if it does not within two seconds.
  void End();

 private:
  pid_t pid_ = 0;
};

// The calling thread, and those that it starts, stay on `cpus`.
void KeepTo(std::span<const int> cpus);

// `count` objects, in memory that is shared with children forked later. Zero.
template <typename T>
class SharedObjects {
 public:
  explicit SharedObjects(size_t count = 1)
      : bytes_(sizeof(T) * count),
        data_(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0)) {
    if (data_ == MAP_FAILED) throw std::bad_alloc();
  }
  ~SharedObjects() { munmap(data_, bytes_); }
  SharedObjects(const SharedObjects&) = delete;
  SharedObjects& operator=(const SharedObjects&) = delete;

  T& operator*() const { return *get(); }
  T* operator->() const { return get(); }
  T& operator[](size_t index) const { return get()[index]; }
  T* get() const { return static_cast<T*>(data_); }

 private:
  size_t bytes_;
  void* data_;
};

}  // namespace yamanote::bench
