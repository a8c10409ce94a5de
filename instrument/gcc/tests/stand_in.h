// stand_in.h - a runtime for tests of the plug-in: probes hit, nothing switches.
//
// The flag of the main thread is set for good, so every probe is taken. Each one
// is counted as given (the task would give way) or held (the guard forbids it).

#ifndef YAMANOTE_INSTRUMENT_GCC_TESTS_STAND_IN_H_
#define YAMANOTE_INSTRUMENT_GCC_TESTS_STAND_IN_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Both call `function` from code without probes. The first expects that no probe
// in it was given and some were held, the second that none was held and at least
// `least` were given.
uint64_t stand_in_call_held(uint64_t (*function)(uint64_t), uint64_t argument);
uint64_t stand_in_call_given(uint64_t (*function)(uint64_t), uint64_t argument,
                             uint64_t least);

// The guard, as the function that asks has left it.
uintptr_t stand_in_guard(void);

// Called at every probe with where its function goes on; null: nobody.
extern void (*stand_in_observer)(uintptr_t where);

// Ends the program with a message if `true_in_preemptible` is not, in a build
// with probes. Does nothing in one without.
void stand_in_expect(int true_in_preemptible, const char* what);

#ifdef __cplusplus
}
#endif

#endif  // YAMANOTE_INSTRUMENT_GCC_TESTS_STAND_IN_H_
