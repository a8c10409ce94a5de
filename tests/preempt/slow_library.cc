// slow_library.cc - a library whose constructor and destructor take their time, with
// probes; works_library.cc loads it. Probes by hand: it links nothing.

#include "yamanote/preempt.h"

namespace {

void Linger(int times) {
  for (int i = 0; i < times; ++i) yamanote::Probe();
}

}  // namespace

extern "C" {
// 2 while it is loaded; else somebody came in before it was, or after.
volatile int slow_library_state = 0;
}

[[gnu::constructor]] static void Construct() {
  slow_library_state = 1;
  Linger(200);
  slow_library_state = 2;
}

[[gnu::destructor]] static void Destruct() {
  slow_library_state = 3;
  Linger(200);
  slow_library_state = 4;
}
