// stand_in.h - a runtime for the plug-in's tests: it answers, never preempts.
//
// The flag is set all the time, so that every probe comes here. Each hit changes
// all registers and flags that a probe may change, writes below the red zone,
// and now and then walks the stack, which must end in main().
//
// An unguarded hit also calls `on_turn`, which plays another task's turn on this
// kernel thread: it spoils thread-locals.

#ifndef YAMANOTE_INSTRUMENT_CLANG_TEST_STAND_IN_H_
#define YAMANOTE_INSTRUMENT_CLANG_TEST_STAND_IN_H_

#ifdef __cplusplus
#include <cstdint>
extern "C" {
#else
#include <stdint.h>
#endif

// Volatile is what the interrupted program sets: to it, a probe touches no memory.
struct StandIn {
  uint64_t hits;          // All.
  uint64_t guarded_hits;  // Those below the guard.
  // A hit must be guarded (1), must not (0), may be either (-1). Else: abort.
  volatile int expect_guarded;
  void (*volatile on_turn)(void);
  // Functions that the next hits' backtraces must name, innermost first.
  const char* const* volatile expect_frames;
  uint64_t walks;  // Backtraces that were checked.
};
extern struct StandIn g_stand_in;

void stand_in_start(void);  // Sets the flag.
void stand_in_stop(void);   // Clears it.

#ifdef __cplusplus
}
#endif

#endif  // YAMANOTE_INSTRUMENT_CLANG_TEST_STAND_IN_H_
