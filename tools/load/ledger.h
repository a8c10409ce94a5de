// ledger.h - matches answers to the requests of one thread and counts the rest.
//
// Lanes are the thread's connections. A Wire turns bytes into calls of Answer();
// the ledger decides whether that request was waiting for one. Pure bookkeeping:
// no clock and no sockets. One thread.

#pragma once

#include <cstdint>
#include <vector>

#include "tools/load/schedule.h"

namespace yamanote::load {

// What went over one connection, in the order it was encoded.
struct Lane {
  uint32_t number = 0;            // Within the thread.
  std::vector<uint32_t> order{};  // Indices of samples.
  uint32_t answered = 0;          // Streams answer in order: the next to come.
};

struct Counters {
  uint64_t duplicates = 0;
  uint64_t unmatched = 0;
  uint64_t misses = 0;
  uint64_t closed_connections = 0;

  Counters& operator+=(const Counters& other) {
    duplicates += other.duplicates;
    unmatched += other.unmatched;
    misses += other.misses;
    closed_connections += other.closed_connections;
    return *this;
  }
};

class Ledger {
 public:
  explicit Ledger(std::vector<Sample> samples) : samples_(std::move(samples)) {}

  const std::vector<Sample>& samples() const { return samples_; }
  std::vector<Sample> TakeSamples() { return std::move(samples_); }
  uint64_t outstanding() const { return outstanding_; }
  Counters& counters() { return counters_; }
  const Counters& counters() const { return counters_; }

  // The time at which the bytes now being read were received.
  void SetNow(int64_t now_ns) { now_ns_ = now_ns; }

  // The kernel took request `index` at `at_ns`.
  void MarkSent(uint32_t index, int64_t at_ns) {
    Sample& sample = samples_[index];
    if (sample.status != Status::kPlanned) return;
    sample.status = Status::kSent;
    sample.sent_ns = at_ns;
    ++outstanding_;
  }

  // A whole answer to `index` was read: `status` is kAnswered or kRefused.
  void Answer(uint32_t index, Status status) {
    Sample& sample = samples_[index];
    if (sample.status == Status::kSent) {
      sample.status = status;
      sample.received_ns = now_ns_;
      --outstanding_;
    } else if (sample.status == Status::kPlanned) {
      ++counters_.unmatched;
    } else {
      ++counters_.duplicates;
    }
  }

  // Gives up on what lane `lane` still waits for: its connection is gone.
  void CloseLane(const Lane& lane) {
    for (size_t i = lane.answered; i < lane.order.size(); ++i) {
      if (samples_[lane.order[i]].status == Status::kSent) {
        // Stays kSent: counted as lost. Nobody waits for it any more.
        --outstanding_;
      }
    }
  }

 private:
  std::vector<Sample> samples_;
  Counters counters_;
  uint64_t outstanding_ = 0;
  int64_t now_ns_ = 0;
};

}  // namespace yamanote::load
