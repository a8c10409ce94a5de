// rcu_section.h - what the scheduler must know of read-copy-update.
//
// A read section lives on one kernel thread (a worker or another): the thread's
// RcuRecord says whether one is open. Whoever is about to take the calling user
// thread off its core, for whatever reason, calls CheckQuiescent() first. That
// is all: a worker that runs no section, idles or sleeps holds nobody up, so
// there is nothing to count at a reschedule.
//
// Nobody is preempted at a probe while depth > 0: Rcu::lock() sees to that.

#pragma once

#include <atomic>
#include <cstdint>

#include "base/check.h"
#include "base/cpu.h"
#include "base/thread_local.h"

namespace yamanote::worker {

// One kernel thread's read sections. Never freed; reused by later threads.
struct alignas(base::kNoSharing) RcuRecord {
  // Odd while a section is open. Written by the thread, read by synchronize().
  std::atomic<uint64_t> sections{0};
  uint32_t depth = 0;  // The thread's own: open sections, nested ones too.
  bool needs_fence = false;   // Constant: the kernel has no membarrier.
  bool in_use = false;        // Guarded by the registry's lock.
  RcuRecord* next = nullptr;  // Constant once in the registry.
};

// OwnRcuRecord(), for that function and rcu.cc alone.
extern "C" {
[[gnu::tls_model("initial-exec")]] extern constinit thread_local RcuRecord*
    yamanote_rcu_record;
}

// The calling kernel thread's; nullptr before its first section.
inline RcuRecord* OwnRcuRecord() {
  RcuRecord* record;
  YAMANOTE_READ_THREAD_LOCAL(record, yamanote_rcu_record);
  return record;
}

// Aborts if the caller is within a read section. Any thread.
inline void CheckQuiescent() {
  [[maybe_unused]] const RcuRecord* const record = OwnRcuRecord();
  YAMANOTE_CHECK(
      record == nullptr || record->depth == 0,
      "a thread blocks or yields within an RCU read section; end the "
      "section (RcuReader) first");
}

}  // namespace yamanote::worker
