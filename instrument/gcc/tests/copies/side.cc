// side.cc - the uses, compiled once without the plug-in and once with it.

#include "instrument/gcc/tests/copies/side.h"

#include "instrument/gcc/tests/copies/shared.h"

namespace {

uint64_t OfBase(uint64_t n) {
  shared::Base base(n);
  return base.Base::Virtual(n);
}

uint64_t Destructor(uint64_t n) {
  {
    const shared::Base base(n);
  }
  return shared::Base::last;
}

uint64_t Coroutine(uint64_t n) {
  uint64_t result = 0;
  shared::Coroutine(n, &result);
  return result;
}

uint64_t Kept(uint64_t n) {
  return shared::Used(n) + shared::Named(n) + shared::Versions(n) +
         shared::Explicit<uint64_t>().More(n);
}

constexpr Use kUses[] = {
    {"inline", shared::Inline},
    {"extern_c", shared::shared_c},
    {"template", shared::Template<uint64_t>},
    {"base", OfBase},
    {"destructor", Destructor},
    {"exception", shared::Catches},
    {"lambda", shared::Lambda},
    {"local_class", shared::LocalClass},
    {"coroutine", Coroutine},
    {"vtable", shared::ByVtable, true},
    {"labels", shared::Labels, true},
    {"kept", Kept, true},
};

}  // namespace

#ifdef YAMANOTE_PREEMPTIBLE
#define SIDE with_probes
template struct shared::Explicit<uint64_t>;
#else
#define SIDE without_probes
#endif
const Side SIDE = {kUses, kUses + sizeof(kUses) / sizeof(kUses[0]),
                   &shared::initialised, shared::Counter};
