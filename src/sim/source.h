// source.h - where simulated requests come from, and who is told what became of them.

#pragma once

#include <cstdint>
#include <span>

#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote::sim {

// One request.
struct Arrival {
  Instant at{};         // Not before that of the request before it.
  Duration service{0};  // >= 1 ns.
  // The hash of its connection; 0: none, so the placement spreads it.
  uint64_t flow = 0;
  Instant deadline = kNever;
  ClassId request_class = 0;
};

// An open loop: what comes next does not depend on what became of the others.
class Source {
 public:
  virtual ~Source() = default;

  // Returns the next request, valid until the next call; nullptr: there is none any more.
  const Arrival* Next() {
    if (at_hand_.empty()) {
      at_hand_ = NextFew();
      if (at_hand_.empty()) return nullptr;
    }
    const Arrival* const arrival = &at_hand_.front();
    at_hand_ = at_hand_.subspan(1);
    return arrival;
  }

  // The next requests, as many as the source likes, so that not every one costs a virtual
  // call; valid until the next call. Empty: there is none any more. For Next(), and for
  // a source that passes on another's.
  virtual std::span<const Arrival> NextFew() = 0;

 private:
  std::span<const Arrival> at_hand_;
};

// Called in the order of virtual time.
class Observer {
 public:
  virtual ~Observer() = default;
  // Answered at `now`.
  virtual void Finished(const Arrival& arrival, Instant now) = 0;
  // Not admitted.
  virtual void Refused(const Arrival& arrival) = 0;
};

}  // namespace yamanote::sim
