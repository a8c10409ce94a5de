// facts.h - what the passes know about the functions of one translation unit.
//
// GCC compiles callees before their callers where it can, one function from its
// first pass to its last; so what was learnt of a callee is there when its
// caller comes. A function that is not known counts as the worst case.

#ifndef YAMANOTE_INSTRUMENT_GCC_FACTS_H_
#define YAMANOTE_INSTRUMENT_GCC_FACTS_H_

#include <unordered_map>
#include <unordered_set>

#include "instrument/gcc/gcc_headers.h"

namespace yamanote::instrument {

// How thread-locals of the runtime are found.
enum class TlsModel { kLocalExec, kInitialExec };

struct Options {
  TlsModel tls = TlsModel::kLocalExec;
  bool report = false;
};

// What is known of one function, by its declaration's number.
struct FunctionFacts {
  bool guarded = false;
  // Calls nothing but leaves, and has no probe.
  bool leaf = false;
  // Has a probe on every way through it.
  bool always_probes = false;
};

// One for the compiler's process; the passes refer to it.
struct Unit {
  Options options;
  std::unordered_map<unsigned, FunctionFacts> functions;
  // Jumps back to the head of a loop that is known to be short, by the number
  // of the instruction, in the function that is being compiled.
  std::unordered_set<int> short_loop_jumps;
};

// The runtime's own functions: no probes, no guard.
bool IsRuntimeFunction(tree function);

// Whether `function`, of which the guard pass has been, may have probes.
bool MayHaveProbes(const Unit& unit, tree function);

// Whether a call of `callee` (null: not known) runs no probe, and comes back
// without having called anything that this compiler compiles.
bool IsLeafCall(const Unit& unit, tree callee);

// Whether a call of `callee` certainly runs a probe.
bool AlwaysProbes(const Unit& unit, tree callee);

// Whether `call` gives a lock back, behind which it can have a probe. While a task
// holds a lock it is not preempted; a loop that takes one in each round must not
// meet its only probe in between.
bool IsUnlock(const rtx_insn* call);

// Whether a call of `callee` hands out an address that belongs to the kernel
// thread: errno's, that of a thread_local, or the thread pointer.
bool GivesThreadLocal(tree callee);

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_GCC_FACTS_H_
