// user_interrupt.h - the processor's user interrupts (Intel UINTR, Sapphire Rapids
// on): one core interrupts a thread on another without the kernel.
//
// UNTESTED ON HARDWARE: no mainline kernel has the system calls. Compiled where the
// kernel's headers name them (Intel's patches do), and used where the processor
// and the running kernel have them; everywhere else it says what is missing.

#pragma once

namespace yamanote::preempt {

// What is missing, as a clause; nullptr: nothing.
const char* UserInterruptsMissing();

// The calling kernel thread takes user interrupts from now on; returns what
// SendUserInterrupt() needs, -1 if the kernel refuses.
int ReceiveUserInterrupts();
void EndUserInterrupts(int receiver);

// Interrupts that thread; false if the kernel refuses. Any thread: each registers
// itself as a sender the first time. About 0.5 us, by Intel's figures.
bool SendUserInterrupt(int receiver);

}  // namespace yamanote::preempt
