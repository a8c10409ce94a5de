// kernel.cc - what messages and results are called.

#include "native/kernel.h"

namespace yamanote::native {

std::string_view ToString(MessageType type) {
  switch (type) {
    case kThreadCreated:
      return "created";
    case kThreadWakeup:
      return "wakeup";
    case kThreadBlocked:
      return "blocked";
    case kThreadPreempted:
      return "preempted";
    case kThreadYield:
      return "yield";
    case kThreadAffinity:
      return "affinity";
    case kThreadPriority:
      return "priority";
    case kThreadDeparted:
      return "departed";
    case kThreadDead:
      return "dead";
    case kTimerTick:
      return "tick";
    case kCoreBusy:
      return "busy";
    case kCoreAvailable:
      return "available";
    case kMessageNone:
    case kMessageTypes:
      break;
  }
  return "unknown";
}

std::string_view ToString(CommitResult result) {
  switch (result) {
    case kCommitNone:
      return "not committed";
    case kCommitted:
      return "committed";
    case kCommitStaleThread:
      return "stale thread";
    case kCommitStaleAgent:
      return "stale agent";
    case kCommitOnCore:
      return "on a core";
    case kCommitNotFound:
      return "not found";
    case kCommitNotRunnable:
      return "not runnable";
    case kCommitUnavailable:
      return "core unavailable";
    case kCommitNotPermitted:
      return "not permitted";
    case kCommitBadCore:
      return "no such core";
    case kCommitNotSupported:
      return "not supported";
    case kCommitResults:
      break;
  }
  return "unknown";
}

}  // namespace yamanote::native
