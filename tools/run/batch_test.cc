// batch_test.cc - threads of a program's processes are found and moved.

#include "tools/run/batch.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/topology.h"

namespace yamanote::tools {
namespace {

// A child with a second thread, and a child of its own.
class Family {
 public:
  Family() {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    child_ = fork();
    if (child_ == 0) {
      const pid_t grandchild = fork();
      if (grandchild == 0) {
        static_cast<void>(!write(ready[1], "x", 1));
        for (;;) pause();
      }
      std::thread second([&] {
        static_cast<void>(!write(ready[1], "x", 1));
        for (;;) pause();
      });
      second.join();
    }
    char two[2];
    for (int heard = 0; heard < 2;) {
      const ssize_t length = read(ready[0], two, 2);
      if (length <= 0) break;
      heard += static_cast<int>(length);
    }
    close(ready[0]);
    close(ready[1]);
  }
  ~Family() {
    for (const pid_t one : ThreadsBelow(child_)) kill(one, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  pid_t child() const { return child_; }

 private:
  pid_t child_ = 0;
};

TEST(BatchTest, FindsThreadsAndChildren) {
  const Family family;
  const std::vector<pid_t> threads = ThreadsBelow(family.child());
  EXPECT_EQ(threads.size(), 3);
  EXPECT_TRUE(std::ranges::find(threads, family.child()) != threads.end());
}

TEST(BatchTest, MovesThemAll) {
  const Family family;
  const std::vector<int> allowed = base::AllowedCpus();
  const std::vector<int> last = {allowed.back()};
  MoveAll(family.child(), last);
  for (const pid_t thread : ThreadsBelow(family.child())) {
    cpu_set_t set;
    ASSERT_EQ(sched_getaffinity(thread, sizeof set, &set), 0);
    EXPECT_EQ(CPU_COUNT(&set), 1);
    EXPECT_TRUE(CPU_ISSET(static_cast<unsigned>(last[0]), &set));
  }
}

TEST(BatchTest, ACoreThatComesAndGoesIsKept) {
  using std::chrono::milliseconds;
  LastingCores cores(milliseconds(20));
  const auto look = [&](std::vector<int> granted, int at) {
    return cores.Look(granted, Instant(milliseconds(at)));
  };
  EXPECT_EQ(look({2, 3}, 1), std::vector<int>({2, 3}));
  EXPECT_EQ(look({2}, 20), std::vector<int>({2, 3}));
  EXPECT_EQ(look({2}, 21), std::vector<int>({2}));
  // More it takes at once.
  EXPECT_EQ(look({0, 2}, 22), std::vector<int>({0, 2}));
  EXPECT_TRUE(look({}, 50).empty());
}

TEST(BatchTest, OneThatIsGoneHasNone) {
  EXPECT_TRUE(ThreadsBelow(1 << 22).empty());
}

}  // namespace
}  // namespace yamanote::tools
