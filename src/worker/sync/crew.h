// crew.h - for tests: the same test on kernel threads, on user threads of 1, 2
// and 4 workers, and on both kinds at once.
//
//   class LatchTest : public CrewTest {};
//   TEST_P(LatchTest, Opens) {
//     Run([](Crew& crew) { crew.Start([] { ... }); crew.Join(); });
//   }
//   YAMANOTE_CREW_TESTS(LatchTest);

#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace yamanote {

using namespace std::chrono_literals;  // Tests only.

// Long enough for any machine, short enough to fail before ctest's limit.
inline constexpr Duration kLong = std::chrono::seconds(60);
// Shows that a deadline is noticed at all.
inline constexpr Duration kShort = std::chrono::milliseconds(1);

struct CrewKind {
  const char* name;
  unsigned workers;     // 0: no runtime.
  bool kernel_threads;  // Every other member is one, or all without a runtime.
  const char* preset = "yamanote";
};

// Names a kind in GoogleTest's messages.
inline void PrintTo(const CrewKind& kind, std::ostream* out) {
  *out << kind.name;
}

inline constexpr CrewKind kCrewKinds[] = {
    {"Kernel", 0, true},
    {"User1", 1, false},
    {"User2", 2, false},
    {"User4", 4, false},
    {"Mixed1", 1, true},
    {"Mixed2", 2, true},
    {"Stealing2", 2, false, "zygos"},
    {"TwoLevel4", 4, true, "tq"},
};

// Threads of one kind or of both, started by a test's body.
class Crew {
 public:
  explicit Crew(const CrewKind& kind) : kind_(kind) {}
  ~Crew() { Join(); }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  void Start(std::function<void()> body) {
    const bool kernel =
        kind_.workers == 0 || (kind_.kernel_threads && ++started_ % 2 == 0);
    if (kernel) {
      kernel_.emplace_back(std::move(body));
    } else {
      user_.emplace_back(std::move(body));
    }
  }

  void Start(int count, const std::function<void()>& body) {
    for (int i = 0; i < count; ++i) Start(body);
  }

  void Join() {
    // User threads first: the caller may be one, and the only worker's.
    for (Thread& thread : user_) thread.join();
    for (std::thread& thread : kernel_) thread.join();
    user_.clear();
    kernel_.clear();
  }

  // Gives way until `condition` holds. For what cannot be waited for otherwise.
  template <typename Condition>
  static void Until(Condition condition) {
    while (!condition()) this_thread::yield();
  }

 private:
  const CrewKind& kind_;
  unsigned started_ = 0;
  std::vector<Thread> user_;
  std::vector<std::thread> kernel_;
};

class CrewTest : public testing::TestWithParam<CrewKind> {
 protected:
  // Runs `body` as the crew's first member.
  void Run(const std::function<void(Crew&)>& body) {
    if (GetParam().workers == 0) {
      Crew crew(GetParam());
      body(crew);
      return;
    }
    RuntimeOptions options;
    options.cores = GetParam().workers;
    options.pin = false;  // Tests run beside each other.
    options.spin = std::chrono::microseconds(5);
    options.scheduling = FindPreset(GetParam().preset).value();
    const auto runtime = Runtime::Create(std::move(options)).value();
    runtime->Run([&] {
      Crew crew(GetParam());
      body(crew);
    });
  }
};

inline std::string CrewName(const testing::TestParamInfo<CrewKind>& info) {
  return info.param.name;
}

#define YAMANOTE_CREW_TESTS(suite)                                      \
  INSTANTIATE_TEST_SUITE_P(Crews, suite, testing::ValuesIn(kCrewKinds), \
                           CrewName)

}  // namespace yamanote
