// forked.h - what a guardian needs after fork(): system calls, and nothing else.
//
// No locks, no allocation. Thread safety: none needed, the child has one thread.

#pragma once

#include <vector>

namespace yamanote::native {

// How long an answer of the other process may take.
inline constexpr int kGuardianAnswerMs = 5000;

bool IsReadable(int descriptor, int timeout_ms);

// All descriptors but `kept`, which is sorted: the host's sockets and pipes are none of ours.
void CloseOthers(const std::vector<int>& kept);

}  // namespace yamanote::native
