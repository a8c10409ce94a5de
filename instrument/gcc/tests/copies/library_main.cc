// library_main.cc - the program of two units with the standard library.

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

uint64_t First(uint64_t n);
uint64_t Second(uint64_t n);

extern "C" {
thread_local unsigned char yamanote_preempt_flag = 1;
thread_local uintptr_t yamanote_preempt_guard;
static uint64_t probes;
void stand_in_hit(uintptr_t, uintptr_t) { ++probes; }
}

int main() {
  const uint64_t first = First(100);
  if (first != Second(100) || probes == 0) std::abort();
  std::printf("%" PRIu64 "\n", first);
  return 0;
}
