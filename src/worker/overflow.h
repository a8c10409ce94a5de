// overflow.h - says whose stack overflowed.
//
// A user thread that runs into its guard would die of an unexplained SIGSEGV.
// Each worker has an alternate signal stack, guarded as well; the handler compares the
// address
// with the current thread's guard, prints the thread's name and the remedy, and
// lets the fault take its usual course (core dump, or the program's own
// handler). A frame larger than kGuardBytes may jump over the guard: compile
// such code with -fstack-clash-protection.

#pragma once

namespace yamanote::worker {

// Lives on a worker's kernel thread while it runs user threads.
class OverflowReporter {
 public:
  OverflowReporter();
  ~OverflowReporter();
  OverflowReporter(const OverflowReporter&) = delete;
  OverflowReporter& operator=(const OverflowReporter&) = delete;

 private:
  void* stack_;
};

}  // namespace yamanote::worker
