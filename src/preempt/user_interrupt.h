// user_interrupt.h - the processor's user interrupts (Intel UINTR, Sapphire Rapids
// on): one core interrupts a thread on another without the kernel.
//
// UNTESTED ON HARDWARE: no mainline kernel has the system calls. Compiled where the
// kernel's headers name them (Intel's patches do), and used where the processor
// and the running kernel have them; everywhere else it says what is missing.
//
// A sender needs an index, which ends with the receiver. In one version of Intel's
// patches, closing the receiver's descriptor frees it: then it is nobody's (sending is
// a fault) or another receiver's. In a later one it stays, and reaches nobody. So an
// index must not be used once its receiver has ended:
//  1. Senders hold the timekeeper's lock while they read who receives and send, and
//     Timekeeper::Exit() takes that lock before a core ends its receiver.
//  2. Senders remember indexes by Receiver, which never comes again, and not by the
//     descriptor, whose number does.
// One that reached a wrong thread after all would do nothing there: InjectProbe() looks
// at that thread's own flag and task.

#pragma once

#include <array>
#include <cstddef>

#include "preempt/flag.h"

namespace yamanote::preempt {

// What is missing, as a clause; nullptr: nothing.
const char* UserInterruptsMissing();

// The calling kernel thread takes user interrupts from now on; none if the kernel
// refuses.
Receiver ReceiveUserInterrupts();
// The same thread, when nobody sends to `receiver` any more.
void EndUserInterrupts(Receiver receiver);

// Interrupts that thread; false if the kernel refuses. Any thread: each registers
// itself as a sender the first time. Requires: `receiver` has not ended. About 0.5 us,
// by Intel's figures.
bool SendUserInterrupt(Receiver receiver);

// One thread's index for each receiver that it has sent to.
class SenderIndexes {
 public:
  // The kernel's table for a thread has as many.
  static constexpr size_t kMost = 256;

  // Returns the index for `receiver`: that of the last time, or what
  // `enroll(descriptor)` returns. Negative, and not remembered: that refused, or
  // there are kMost already.
  template <typename Enroll>
  long Find(Receiver receiver, Enroll&& enroll) {
    size_t slot = 0;
    while (slot < count_ &&
           entries_[slot].receiver.descriptor != receiver.descriptor)
      ++slot;
    if (slot < count_ && entries_[slot].receiver == receiver)
      return entries_[slot].index;
    if (slot == kMost) return -1;
    const long index = enroll(receiver.descriptor);
    if (index < 0) return index;
    // In the place of one that has ended: it had the same descriptor.
    entries_[slot] = {.receiver = receiver, .index = index};
    if (slot == count_) ++count_;
    return index;
  }

 private:
  struct Entry {
    Receiver receiver;
    long index = 0;
  };
  std::array<Entry, kMost> entries_{};
  size_t count_ = 0;
};

}  // namespace yamanote::preempt
