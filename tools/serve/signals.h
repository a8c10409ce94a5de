// signals.h - the signals a server is told things by, waited for in one place.
//
// Blocked in every thread and fetched by one, so no handler runs anywhere and a
// signal can't interrupt what the server does.

#pragma once

#include "yamanote/time.h"

namespace yamanote::tools {

class Signals {
 public:
  enum class Event {
    kTimeout,
    kEnd,    // SIGINT, SIGTERM, or SIGHUP unless it was ignored.
    kStats,  // SIGUSR1.
    kWoken,  // Wake().
  };

  // Blocks the signals in the calling thread and those it starts. SIGPIPE is
  // ignored: a client that went away is an error of its connection.
  Signals();

  // Waits for a signal, at most `limit` (kNoLimit: without end). One thread.
  static constexpr Duration kNoLimit = Duration::max();
  Event Wait(Duration limit);

  // Whether a signal has come that Wait() will return as kEnd. Any thread.
  static bool IsEndPending();

  // Ends Wait() on the thread that waits, now or the next time. Any thread.
  void Wake();
};

}  // namespace yamanote::tools
