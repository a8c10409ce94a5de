// starvation.h - one task waits while others come, for as long as the policy lets it.
//
// A domain by itself. From the seed come its cores and classes, what the victim is and has
// had, and the habits of the others: of which class, how long, heavy and urgent, whether they
// end at once or give way, block and wake up on the way. As soon as one ends another comes.
// They keep to what PolicyInfo::starves takes for granted.

#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "yamanote/policy.h"

namespace yamanote {

class Starvation {
 public:
  // Calls of PickNext(). It need not be near: an order that starves keeps the victim for ever.
  // What the seeds draw waits longest for a fair share among heavy others.
  static constexpr int kPatience = 20'000;

  Starvation(const PolicyInfo& info, uint32_t seed)
      : info_(info), random_(seed) {
    PolicyOptions options{
        .slice = std::chrono::microseconds(Below(16) + 5),
        .rejoin = static_cast<Rejoin>(Below(2)),
        .cores = 1 + Below(kMostCores),
    };
    cores_ = options.cores;
    classes_ = 1 + Below(3);
    for (uint32_t c = 0; c < classes_; ++c) {
      ClassOptions one{.slo = std::chrono::microseconds(10 + Below(90))};
      if (c % 2 == 1) {  // A reservation.
        one.budget = one.slo / 2;
        one.period = one.slo;
      }
      options.classes.push_back(one);
    }
    slice_ = options.slice;
    longest_step_ = slice_ / cores_ / (Below(2) == 0 ? 1 : 10);
    most_others_ = cores_ + 1 + Below(8);
    their_class_ = Below(2) == 0 ? Below(classes_) : kAnyClass;
    their_weight_ = static_cast<uint16_t>(Below(2) == 0 ? 1 : 1 + Below(30));
    they_have_deadlines_ = Below(2) == 0;
    they_end_at_once_ = Below(2) == 0;
    they_pause_ = Below(2) == 0;
    policy_ = info.make(options);
  }

  // Returns for how many calls of PickNext() the victim waited at most: kPatience if it is
  // not picked.
  int LongestWait() {
    // Some orders go by what they have seen: darc by 10,000 tasks.
    if (Below(2) == 0) {
      for (int i = 0; i < 12'000; ++i) Look();
    }
    const uint32_t most_others = std::exchange(most_others_, 0);
    for (int i = 0; i < kPatience && !others_.empty(); ++i) Look();

    const auto its_class = static_cast<ClassId>(Below(classes_));
    victim_ = NewJob(its_class, 1, Below(2) == 0);
    Enqueue(*victim_, Wake::kArrival);
    // Alone, it may become as old as mlfq counts.
    constexpr std::array kHistory = {0, 3, 200, 20'000};
    for (int i = kHistory[Below(kHistory.size())]; i > 0; --i) Look();

    most_others_ = most_others;
    int longest = 0;
    for (int turn = 0; turn < 3; ++turn) {
      victim_picked_ = false;
      int waited = 0;
      for (; waited < kPatience && !victim_picked_; ++waited) Look();
      longest = std::max(longest, waited);
    }
    return longest;
  }

 private:
  static constexpr uint32_t kMostCores = 3;
  static constexpr uint32_t kAnyClass = UINT32_MAX;

  struct Job : Task {
    Duration service{0};
  };

  uint32_t Below(uint32_t bound) {
    return static_cast<uint32_t>(random_() % bound);
  }

  std::unique_ptr<Job> NewJob(ClassId request_class, uint16_t weight,
                              bool has_deadline) {
    auto job = std::make_unique<Job>();
    job->id = ++last_id_;
    job->arrival = now_;
    job->request_class = request_class;
    job->weight = weight;
    if (has_deadline) job->deadline = now_ + Duration(1 + Below(100'000));
    // Classes differ in length: up to a sixteenth of a slice, half of one, four.
    const Duration longest = slice_ / 16 * (1 << 3 * request_class);
    job->service = Duration(1 + Below(static_cast<uint32_t>(longest.count())));
    return job;
  }

  // A core's turn: what it ran stops, others come, and it picks.
  void Look() {
    const CoreId core = next_core_;
    next_core_ = (next_core_ + 1) % cores_;
    now_ += Duration(1 + Below(static_cast<uint32_t>(longest_step_.count())));
    if (Job* const job = std::exchange(running_[core], nullptr))
      StopJob(*job, core);
    while (others_.size() < most_others_) {
      const uint32_t c =
          their_class_ == kAnyClass ? Below(classes_) : their_class_;
      others_.push_back(
          NewJob(static_cast<ClassId>(c), their_weight_, they_have_deadlines_));
      Enqueue(*others_.back(), Wake::kArrival);
    }
    running_[core] = static_cast<Job*>(policy_->PickNext(core, now_));
    since_[core] = now_;
    victim_picked_ |= victim_ != nullptr && running_[core] == victim_.get();
  }

  void StopJob(Job& job, CoreId core) {
    const Duration ran = now_ - since_[core];
    job.attained += ran;
    job.last_core = core;
    const bool is_victim = &job == victim_.get();
    Stop why = Stop::kPreempted;
    if (!is_victim && (they_end_at_once_ || job.attained >= job.service)) {
      why = Stop::kFinished;
    } else if (they_pause_ && Below(4) == 0) {
      why = Below(2) == 0 ? Stop::kYielded : Stop::kBlocked;
    }
    if (info_.observes_stops) policy_->OnStop(job, core, why, ran);
    switch (why) {
      case Stop::kFinished:
        std::erase_if(others_,
                      [&job](const auto& one) { return one.get() == &job; });
        break;
      case Stop::kBlocked:  // And what it waits for happens at once.
        Enqueue(job, Wake::kWakeup);
        break;
      case Stop::kPreempted:
        Enqueue(job, Wake::kPreempted);
        break;
      case Stop::kYielded:
        Enqueue(job, Wake::kYield);
        break;
    }
  }

  void Enqueue(Task& task, Wake why) { policy_->Enqueue(task, why, now_); }

  const PolicyInfo& info_;
  std::mt19937 random_;
  std::unique_ptr<Policy> policy_;
  uint32_t cores_ = 1;
  uint32_t classes_ = 1;
  Duration slice_{0};
  Duration longest_step_{0};  // From one core's turn to the next one's.

  // The others' habits.
  uint32_t most_others_ = 0;
  uint32_t their_class_ = kAnyClass;
  uint16_t their_weight_ = 1;
  bool they_have_deadlines_ = false;
  bool they_end_at_once_ = false;
  bool they_pause_ = false;

  Instant now_{std::chrono::milliseconds(1)};
  CoreId next_core_ = 0;
  uint64_t last_id_ = 0;
  std::unique_ptr<Job> victim_;
  bool victim_picked_ = false;
  std::vector<std::unique_ptr<Job>> others_;
  std::array<Job*, kMostCores> running_ = {};
  std::array<Instant, kMostCores> since_ = {};
};

}  // namespace yamanote
