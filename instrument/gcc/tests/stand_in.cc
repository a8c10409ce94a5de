// stand_in.cc - counts probes, checks the guard and the way back to main().
//
// Compiled without the plug-in, and linked with all cases. Prints one line per
// case: its name and its result, which must be the same with and without probes.

#include "instrument/gcc/tests/stand_in.h"

#include <unwind.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "instrument/gcc/tests/cases.h"

extern "C" {

thread_local unsigned char yamanote_preempt_flag;
thread_local uintptr_t yamanote_preempt_guard;

void (*stand_in_observer)(uintptr_t where);

uintptr_t stand_in_guard() { return yamanote_preempt_guard; }

int main(int argc, char** argv);
}

namespace {

bool preemptible;
uint64_t given;
uint64_t held;
// A walk of the stack costs microseconds, so most probes go without.
uint64_t until_walk = 1;
uint64_t walks;
const char* case_name = "none";

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "stand_in: case %s: %s\n", case_name, what);
  std::abort();
}

struct Walk {
  uintptr_t where;
  bool found_interrupted = false;
  bool found_main = false;
};

_Unwind_Reason_Code Step(_Unwind_Context* context, void* data) {
  auto* walk = static_cast<Walk*>(data);
  const uintptr_t ip = _Unwind_GetIP(context);
  if (ip == walk->where) walk->found_interrupted = true;
  if (_Unwind_FindEnclosingFunction(reinterpret_cast<void*>(ip)) ==
      reinterpret_cast<void*>(&main)) {
    walk->found_main = true;
  }
  return _URC_NO_REASON;
}

void CheckBacktrace(uintptr_t where) {
  Walk walk = {.where = where};
  _Unwind_Backtrace(Step, &walk);
  if (!walk.found_interrupted) Fail("the backtrace lacks the interrupted one");
  if (!walk.found_main) Fail("the backtrace ends before main()");
  ++walks;
}

}  // namespace

extern "C" void stand_in_hit(uintptr_t stack_pointer, uintptr_t where) {
  // What the red zone does not keep is anybody's.
  volatile unsigned char junk[2048];
  std::memset(const_cast<unsigned char*>(junk), 0xa5, sizeof(junk));
  if (yamanote_preempt_guard != 0 && stack_pointer < yamanote_preempt_guard) {
    ++held;
  } else {
    yamanote_preempt_guard = 0;
    ++given;
  }
  if (--until_walk == 0) {
    until_walk = 1 + walks / 8;
    CheckBacktrace(where);
  }
  // The observer has probes as well.
  if (void (*observer)(uintptr_t) = stand_in_observer; observer != nullptr) {
    stand_in_observer = nullptr;
    observer(where);
    stand_in_observer = observer;
  }
}

extern "C" void stand_in_expect(int true_in_preemptible, const char* what) {
  if (preemptible && true_in_preemptible == 0) Fail(what);
}

extern "C" uint64_t stand_in_call_held(uint64_t (*function)(uint64_t),
                                       uint64_t argument) {
  const uint64_t given_before = given;
  const uint64_t held_before = held;
  const uint64_t result = function(argument);
  stand_in_expect(given == given_before, "a guarded function gave way");
  stand_in_expect(held > held_before, "a guarded one's callee has no probe");
  stand_in_expect(yamanote_preempt_guard == 0, "the guard was not restored");
  return result;
}

extern "C" uint64_t stand_in_call_given(uint64_t (*function)(uint64_t),
                                        uint64_t argument, uint64_t least) {
  const uint64_t given_before = given;
  const uint64_t held_before = held;
  const uint64_t result = function(argument);
  stand_in_expect(held == held_before, "an outdated guard held a probe back");
  stand_in_expect(given >= given_before + least, "a round without a probe");
  return result;
}

int main(int argc, char** argv) {
  preemptible = argc > 1 && std::strcmp(argv[1], "preemptible") == 0;
  yamanote_preempt_flag = preemptible ? 1 : 0;
  for (const yamanote::instrument::Case& test : yamanote::instrument::kCases) {
    case_name = test.name;
    until_walk = 1;
    const uint64_t before = given + held;
    const uint64_t result = test.run();
    const uint64_t probes = given + held - before;
    if ((probes != 0) != preemptible) {
      Fail(preemptible ? "no probe was met" : "there is a probe");
    }
    std::printf("%s %" PRIu64 "\n", test.name, result);
  }
  std::fprintf(stderr,
               "%" PRIu64 " given, %" PRIu64 " held, %" PRIu64 " walks\n",
               given, held, walks);
  return 0;
}
