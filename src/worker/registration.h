// registration.h - keeps a runtime registered with the arbiter, whoever that is.
//
// A kernel thread of its own, which sleeps until the arbiter hangs up; then it registers
// with the next one that listens there (arbiter/client.h has the states). It asks after
// kFirstPause, then less and less often. No worker waits for it: each follows at its next
// scheduling point.
//
// A refusal is said on standard error, once; the runtime then has its home cores alone,
// and asks again every kRefusedPause.

#pragma once

#include <string>
#include <thread>
#include <vector>

#include "arbiter/client.h"

namespace yamanote::worker {

class Engine;

class Registration {
 public:
  // `tids`: of the workers, by core. `engine` and its workers outlive it.
  Registration(Engine& engine, std::vector<int> tids);
  ~Registration();
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

 private:
  static constexpr Duration kFirstPause = std::chrono::milliseconds(2);
  static constexpr Duration kLongestPause = std::chrono::milliseconds(250);
  static constexpr Duration kRefusedPause = std::chrono::seconds(1);
  // One that is lost sooner is not asked at once again.
  static constexpr Duration kStable = std::chrono::seconds(1);
  // For what a new arbiter makes of the cores that are held; and for workers to follow.
  static constexpr Duration kPatience = std::chrono::seconds(1);

  void Run();
  // All of these return false if it is to end.
  bool AwaitLoss();
  bool RegisterAgain();
  bool Follow();
  bool Pause(Duration pause) const;

  Result<void> Register();
  void Say(const Error& error);

  Engine& engine_;
  arbiter::Client& client_;
  const std::vector<int> tids_;
  const int end_;
  Duration pause_ = kFirstPause;
  std::string said_;
  std::thread thread_;  // Last: it uses the rest.
};

}  // namespace yamanote::worker
