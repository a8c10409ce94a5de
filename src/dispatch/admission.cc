// admission.cc - the counters behind admission.h.

#include "dispatch/admission.h"

#include <algorithm>

#include "base/check.h"

namespace yamanote::dispatch {

Admission::Admission(const std::vector<ClassOptions>& classes, Callers callers)
    : count_(std::max<size_t>(classes.size(), 1)),
      alone_(callers == Callers::kOneThread),
      classes_(std::make_unique<Class[]>(count_)) {
  classes_[0].limit = ClassOptions{}.limit;
  for (size_t c = 0; c < classes.size(); ++c)
    classes_[c].limit = classes[c].limit;
}

// Relaxed throughout: the counters order nothing but themselves.
bool Admission::TryAdmit(ClassId request_class) {
  Class& c = Of(request_class);
  uint32_t count = c.in_system.load(std::memory_order_relaxed);
  if (alone_ && count < c.limit) {
    c.in_system.store(count + 1, std::memory_order_relaxed);
    return true;
  }
  while (count < c.limit) {
    if (c.in_system.compare_exchange_weak(count, count + 1,
                                          std::memory_order_relaxed)) {
      return true;
    }
  }
  c.refused.fetch_add(1, std::memory_order_relaxed);
  return false;
}

void Admission::Release(ClassId request_class) {
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

uint32_t Admission::InSystem(ClassId request_class) const {
  return Of(request_class).in_system.load(std::memory_order_relaxed);
}

uint64_t Admission::Refused(ClassId request_class) const {
  return Of(request_class).refused.load(std::memory_order_relaxed);
}

}  // namespace yamanote::dispatch
