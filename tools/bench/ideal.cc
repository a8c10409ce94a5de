// ideal.cc - discrete events: arrivals, ends of requests and slices, outages.

#include "tools/bench/ideal.h"

#include <algorithm>
#include <deque>
#include <limits>

namespace yamanote::bench {
namespace {

constexpr int64_t kNoEvent = std::numeric_limits<int64_t>::max();

class RoundRobin {
 public:
  RoundRobin(std::span<const Arrival> arrivals, unsigned cores, Duration slice,
             const Outages& outages)
      : arrivals_(arrivals),
        slice_(slice == kNoPreemption ? kNoEvent : slice.count()),
        cores_(cores),
        left_(arrivals.size()),
        sojourns_(arrivals.size()) {
    for (size_t i = 0; i < arrivals.size(); ++i) {
      left_[i] = arrivals[i].service_ns;
    }
    for (size_t i = 0; i < outages.size(); ++i) cores_[i].outages = outages[i];
  }

  std::vector<int64_t> Run() {
    for (size_t next = 0, ended = 0; ended < arrivals_.size();) {
      const int64_t arrival =
          next < arrivals_.size() ? arrivals_[next].at.count() : kNoEvent;
      Core* const ending = First(&Core::End);
      const int64_t end = ending == nullptr ? kNoEvent : ending->End(*this);
      Core* const yielding =
          queue_.empty() || slice_ == kNoEvent ? nullptr : First(&Core::Since);
      // The slice may have been over before anybody waited.
      const int64_t yield = yielding == nullptr
                                ? kNoEvent
                                : std::max(yielding->since + slice_, now_);
      Core* const turning = FirstToTurn();
      const int64_t turn = turning == nullptr ? kNoEvent : turning->Turn();
      now_ = std::min({arrival, end, yield, turn});
      if (now_ == end) {
        sojourns_[ending->request] =
            end - arrivals_[ending->request].at.count();
        ++ended;
        ending->busy = false;
        StartNext(*ending);
      } else if (now_ == turn) {
        Turn(*turning);
      } else if (now_ == arrival) {
        queue_.push_back(next++);
        const auto idle = std::ranges::find_if(
            cores_, [](const Core& c) { return !c.busy && !c.out; });
        if (idle != cores_.end()) StartNext(*idle);
      } else {
        left_[yielding->request] -= now_ - yielding->since;
        queue_.push_back(yielding->request);
        StartNext(*yielding);
      }
    }
    return std::move(sojourns_);
  }

 private:
  struct Core {
    bool busy = false;
    bool out = false;  // By the first of `outages`.
    size_t request = 0;
    int64_t since = 0;  // When this request's slice began.
    std::span<const Outage> outages{};

    int64_t End(const RoundRobin& all) const {
      return since + all.left_[request];
    }
    int64_t Since(const RoundRobin&) const { return since; }
    // When it goes away or comes back.
    int64_t Turn() const {
      if (outages.empty()) return kNoEvent;
      return out ? outages.front().to : outages.front().from;
    }
  };

  void StartNext(Core& core) {
    if (queue_.empty()) return;
    core.busy = true;
    core.request = queue_.front();
    core.since = now_;
    queue_.pop_front();
  }

  void Turn(Core& core) {
    core.out = !core.out;
    if (core.out) return;
    const Outage outage = core.outages.front();
    core.outages = core.outages.subspan(1);
    if (core.busy) {
      core.since += outage.to - outage.from;
    } else {
      StartNext(core);
    }
  }

  // The core that runs a request and for which `when` is least, or nullptr.
  Core* First(int64_t (Core::*when)(const RoundRobin&) const) {
    Core* first = nullptr;
    for (Core& core : cores_) {
      if (core.busy && !core.out &&
          (first == nullptr || (core.*when)(*this) < (first->*when)(*this)))
        first = &core;
    }
    return first;
  }

  Core* FirstToTurn() {
    Core* first = nullptr;
    for (Core& core : cores_) {
      if (first == nullptr || core.Turn() < first->Turn()) first = &core;
    }
    return first;
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
                                   unsigned cores, Duration slice,
                                   const Outages& outages) {
  return RoundRobin(arrivals, cores, slice, outages).Run();
}

}  // namespace yamanote::bench
