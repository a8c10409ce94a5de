// rcu.h - read-copy-update: data that is read often and replaced rarely.
//
//   { yamanote::RcuReader reader;  // Reads `std::atomic<const Table*> table`.
//     table.load(std::memory_order_acquire)->Find(key); }
//
//   // Replaces it; one writer at a time.
//   const Table* old = table.exchange(fresh, std::memory_order_acq_rel);
//   yamanote::Rcu::retire(old);
//
// What a reader finds stays until the end of its read section. Reading costs
// two calls and two stores to memory of the reader's core, no atomic
// instruction and no shared cache line; replacing costs microseconds.
//
// A read section must not block, yield or sleep: that is checked and aborts. So
// every reschedule of a core is a quiescent state, and a grace period lasts as
// long as the longest section that was open when it began. Sections nest. Any
// thread, user or kernel, may read; one object serves the process.
//
// Memory ordering: everything in a section that began before a synchronize()
// happens before its return; a section that begins afterwards sees everything
// before it. Pointers must be published with release and read with acquire (or
// consume) as above.
//
// Source: McKenney and Slingwine, "Read-Copy Update: Using Execution History to
// Solve Concurrency Problems", 1998; Desnoyers et al., "User-Level
// Implementations of Read-Copy Update", IEEE TPDS 23(2), 2012 (the variant
// whose readers need no fence). How: src/worker/sync/rcu.cc.

#pragma once

#include <cstddef>
#include <type_traits>

namespace yamanote {

class Rcu {
 public:
  // Bounds the memory that waits to be freed: a call() beyond waits (see
  // there).
  static constexpr size_t kMaxPending = 65536;

  // Begins and ends a read section; must be paired on the same thread. unlock()
  // aborts if no section is open. Rcu is Lockable but for try_lock(): an
  // RcuReader is the usual way.
  static void lock() noexcept;
  static void unlock() noexcept;

  // Waits until all read sections that are open now have ended. Aborts if
  // called within one. Takes microseconds. Any thread.
  static void synchronize();

  // Runs `function(argument)` after all read sections that are open now have
  // ended, on a kernel thread of Rcu's own: it may take Yamanote's mutexes but
  // should be short, and must not throw. Does not wait, except that beyond
  // kMaxPending it waits until there is room, unless a read section is open or
  // a callback calls. What is pending when the process exits is not run. Any
  // thread.
  static void call(void (*function)(void*), void* argument);

  // Deletes `object` as call() does.
  template <typename T>
  static void retire(T* object) {
    call([](void* p) { delete static_cast<T*>(p); },
         const_cast<std::remove_const_t<T>*>(object));
  }

  // Waits until everything that was passed to call() before has run. Aborts if
  // called within a read section or by a callback.
  static void barrier();
};

// A read section as long as it lives.
class [[nodiscard]] RcuReader {
 public:
  RcuReader() noexcept { Rcu::lock(); }
  ~RcuReader() { Rcu::unlock(); }
  RcuReader(const RcuReader&) = delete;
  RcuReader& operator=(const RcuReader&) = delete;
};

}  // namespace yamanote
