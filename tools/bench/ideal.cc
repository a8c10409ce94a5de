// ideal.cc - discrete events: arrivals, ends of requests, ends of slices.

#include "tools/bench/ideal.h"

#include <algorithm>
#include <deque>
#include <limits>

namespace yamanote::bench {
namespace {

constexpr int64_t kNoEvent = std::numeric_limits<int64_t>::max();

class RoundRobin {
 public:
  RoundRobin(std::span<const Arrival> arrivals, unsigned cores, Duration slice)
      : arrivals_(arrivals),
        slice_(slice == kNoPreemption ? kNoEvent : slice.count()),
        cores_(cores),
        left_(arrivals.size()),
        sojourns_(arrivals.size()) {
    for (size_t i = 0; i < arrivals.size(); ++i) {
      left_[i] = arrivals[i].service_ns;
    }
  }

  std::vector<int64_t> Run() {
    for (size_t next = 0;;) {
      const int64_t arrival =
          next < arrivals_.size() ? arrivals_[next].at.count() : kNoEvent;
      Core* const ending = FirstToEnd();
      const int64_t end = ending == nullptr ? kNoEvent : ending->End(left_);
      Core* const yielding = queue_.empty() ? nullptr : LongestRunning();
      // The slice may have been over before anybody waited.
      const int64_t yield = yielding == nullptr
                                ? kNoEvent
                                : std::max(yielding->since + slice_, now_);
      now_ = std::min({arrival, end, yield});
      if (now_ == kNoEvent) return std::move(sojourns_);
      if (now_ == end) {
        sojourns_[ending->request] =
            end - arrivals_[ending->request].at.count();
        ending->busy = false;
        StartNext(*ending);
      } else if (now_ == arrival) {
        queue_.push_back(next++);
        const auto idle =
            std::ranges::find_if(cores_, [](const Core& c) { return !c.busy; });
        if (idle != cores_.end()) StartNext(*idle);
      } else {
        left_[yielding->request] -= now_ - yielding->since;
        queue_.push_back(yielding->request);
        StartNext(*yielding);
      }
    }
  }

 private:
  struct Core {
    bool busy = false;
    size_t request = 0;
    int64_t since = 0;  // When this request's slice began.

    int64_t End(const std::vector<int64_t>& left) const {
      return since + left[request];
    }
  };

  void StartNext(Core& core) {
    if (queue_.empty()) return;
    core = {.busy = true, .request = queue_.front(), .since = now_};
    queue_.pop_front();
  }

  Core* FirstToEnd() {
    Core* first = nullptr;
    for (Core& core : cores_) {
      if (core.busy &&
          (first == nullptr || core.End(left_) < first->End(left_)))
        first = &core;
    }
    return first;
  }

  // nullptr without slices.
  Core* LongestRunning() {
    Core* longest = nullptr;
    if (slice_ == kNoEvent) return longest;
    for (Core& core : cores_) {
      if (core.busy && (longest == nullptr || core.since < longest->since))
        longest = &core;
    }
    return longest;
  }

  const std::span<const Arrival> arrivals_;
  const int64_t slice_;
  std::vector<Core> cores_;
  std::deque<size_t> queue_;
  std::vector<int64_t> left_;
  std::vector<int64_t> sojourns_;
  int64_t now_ = 0;
};

}  // namespace

std::vector<int64_t> IdealSojourns(std::span<const Arrival> arrivals,
                                   unsigned cores, Duration slice) {
  return RoundRobin(arrivals, cores, slice).Run();
}

}  // namespace yamanote::bench
