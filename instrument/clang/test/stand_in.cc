// stand_in.cc - counts and checks what probes do; see stand_in.h.
//
// Compiled without the plug-in.

#include "instrument/clang/test/stand_in.h"

#include <dlfcn.h>
#include <unwind.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" {
thread_local unsigned char yamanote_preempt_flag = 0;
thread_local uintptr_t yamanote_preempt_guard = 0;

StandIn g_stand_in = {.hits = 0,
                      .guarded_hits = 0,
                      .expect_guarded = -1,
                      .on_turn = nullptr,
                      .expect_frames = nullptr,
                      .walks = 0};

void stand_in_start() { yamanote_preempt_flag = 1; }
void stand_in_stop() { yamanote_preempt_flag = 0; }
void stand_in_hit(uintptr_t stack_pointer, uintptr_t address);
}

namespace {

struct Walk {
  const char* const* expected;
  uintptr_t interrupted;
  int depth = 0;
  bool saw_interrupted = false;
  bool saw_main = false;
};

const char* NameOf(uintptr_t address) {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(address), &info) == 0 ||
      info.dli_sname == nullptr) {
    return "?";
  }
  return info.dli_sname;
}

_Unwind_Reason_Code Step(_Unwind_Context* context, void* data) {
  auto& walk = *static_cast<Walk*>(data);
  int before = 0;
  const uintptr_t address = _Unwind_GetIPInfo(context, &before);
  if (++walk.depth > 10000) return _URC_END_OF_STACK;
  const char* name = NameOf(address - 1);
  if (std::strcmp(name, "main") == 0) walk.saw_main = true;
  if (address == walk.interrupted) walk.saw_interrupted = true;
  if (walk.saw_interrupted && walk.expected != nullptr &&
      *walk.expected != nullptr) {
    if (std::strcmp(name, *walk.expected) != 0) {
      std::fprintf(stderr, "stand-in: a backtrace has %s instead of %s\n", name,
                   *walk.expected);
      std::abort();
    }
    ++walk.expected;
  }
  return _URC_NO_REASON;
}

void CheckBacktrace(uintptr_t address) {
  Walk walk{.expected = g_stand_in.expect_frames, .interrupted = address};
  _Unwind_Backtrace(Step, &walk);
  const bool complete = walk.expected == nullptr || *walk.expected == nullptr;
  if (!walk.saw_interrupted || !walk.saw_main || !complete) {
    std::fprintf(stderr,
                 "stand-in: the backtrace of a probe in %s ends early\n",
                 NameOf(address - 1));
    std::abort();
  }
  ++g_stand_in.walks;
}

}  // namespace

void stand_in_hit(uintptr_t stack_pointer, uintptr_t address) {
  // What is called here may be instrumented by a sanitizer, not by us.
  StandIn& self = g_stand_in;
  ++self.hits;
  const uintptr_t guard = yamanote_preempt_guard;
  const bool guarded = stack_pointer < guard;
  if (guard != 0 && !guarded) yamanote_preempt_guard = 0;  // Outdated.
  self.guarded_hits += guarded ? 1 : 0;
  if (self.expect_guarded >= 0 && guarded != (self.expect_guarded == 1)) {
    std::fprintf(stderr, "stand-in: a probe in %s is%s guarded\n",
                 NameOf(address - 1), guarded ? "" : " not");
    std::abort();
  }
  if (!guarded && self.on_turn != nullptr) self.on_turn();
  if (self.expect_frames != nullptr || (self.hits & 1023) == 1) {
    CheckBacktrace(address);
  }
}
