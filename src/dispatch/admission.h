// admission.h - bounds how many requests of each class are in the system.
//
// A request is admitted before it becomes a task and released when its reply is
// on its way. Over the limit it is refused at once, with the protocol's own
// words, so that clients learn of the overload while their request is young and
// no queue inside ever needs a limit of its own.
//
// One padded counter for each class, exact: at most `limit` are admitted, and a
// request is refused only if `limit` were inside. Two cores that take turns on
// the counter pay some 50-100 ns for the line; a request through a kernel socket
// costs 7,000 ns and more. A refusal does not write the line that admissions
// need. Rejected: counts per core, which are cheaper on tens of cores but admit
// too many or too few when the limit is small.
//
// Relaxed throughout: the counters order nothing but themselves.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/cpu.h"
#include "dispatch/placement.h"
#include "yamanote/policy.h"

namespace yamanote::dispatch {

class Admission {
 public:
  // An empty list means one class with the default limit.
  explicit Admission(const std::vector<ClassOptions>& classes,
                     Callers callers = Callers::kManyThreads);

  // Any thread. A class beyond the end counts as class 0. Returns false and
  // counts a refusal if the class's limit is reached; if true, the caller owes
  // one Release() of the same class.
  bool TryAdmit(ClassId request_class) {
    if (!alone_) return TryAdmitBesideOthers(request_class);
    Class& c = Of(request_class);
    const uint32_t count = c.in_system.load(std::memory_order_relaxed);
    if (count >= c.limit) return TryAdmitBesideOthers(request_class);
    c.in_system.store(count + 1, std::memory_order_relaxed);
    return true;
  }

  // Any thread.
  void Release(ClassId request_class) {
    std::atomic<uint32_t>& count = Of(request_class).in_system;
    uint32_t before = 0;
    if (alone_) {
      before = count.load(std::memory_order_relaxed);
      count.store(before - 1, std::memory_order_relaxed);
    } else {
      before = count.fetch_sub(1, std::memory_order_relaxed);
    }
    YAMANOTE_CHECK(before != 0, "Release() without TryAdmit()");
  }

  // Any thread; may be stale.
  uint32_t InSystem(ClassId request_class) const;
  uint64_t Refused(ClassId request_class) const;  // Since the start.

 private:
  struct Class {
    alignas(base::kNoSharing) std::atomic<uint32_t> in_system{0};
    uint32_t limit = 1;  // Constant after construction.
    alignas(base::kNoSharing) std::atomic<uint64_t> refused{0};
  };

  bool TryAdmitBesideOthers(ClassId request_class);
  Class& Of(ClassId c) const { return classes_[c < count_ ? c : 0]; }

  const size_t count_;
  const bool
      alone_;  // One thread makes all calls: no read-modify-write needs be atomic.
  const std::unique_ptr<Class[]> classes_;
};

}  // namespace yamanote::dispatch
