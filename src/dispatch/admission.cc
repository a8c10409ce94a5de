// admission.cc - the counters behind admission.h.

#include "dispatch/admission.h"

#include <algorithm>

namespace yamanote::dispatch {

Admission::Admission(const std::vector<ClassOptions>& classes, Callers callers)
    : count_(std::max<size_t>(classes.size(), 1)),
      alone_(callers == Callers::kOneThread),
      classes_(std::make_unique<Class[]>(count_)) {
  classes_[0].limit = ClassOptions{}.limit;
  for (size_t c = 0; c < classes.size(); ++c)
    classes_[c].limit = classes[c].limit;
}

bool Admission::TryAdmitBesideOthers(ClassId request_class) {
  Class& c = Of(request_class);
  uint32_t count = c.in_system.load(std::memory_order_relaxed);
  while (count < c.limit) {
    if (c.in_system.compare_exchange_weak(count, count + 1,
                                          std::memory_order_relaxed)) {
      return true;
    }
  }
  c.refused.fetch_add(1, std::memory_order_relaxed);
  return false;
}

uint32_t Admission::InSystem(ClassId request_class) const {
  return Of(request_class).in_system.load(std::memory_order_relaxed);
}

uint64_t Admission::Refused(ClassId request_class) const {
  return Of(request_class).refused.load(std::memory_order_relaxed);
}

}  // namespace yamanote::dispatch
