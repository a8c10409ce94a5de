// service_test.cc - the spin service echoes after the time that was asked.

#include "apps/spin/service.h"

#include <gtest/gtest.h>

#include "yamanote/runtime.h"

namespace yamanote::apps {
namespace {

using namespace std::chrono_literals;

class SpinServiceTest : public testing::Test {
 protected:
  // Handles a request of `service` on a user thread; returns how long it took.
  Duration Handle(Duration service) {
    const auto bytes = net::EncodeSpin(
        {.stamp = 7, .service_ns = static_cast<uint64_t>(service.count())});
    Duration took{};
    runtime_->Run([&] {
      const Instant start = Clock::now();
      service_.Handle({.bytes = bytes}, reply_);
      took = Clock::now() - start;
    });
    EXPECT_TRUE(std::ranges::equal(reply_.bytes(), bytes));
    return took;
  }

  std::unique_ptr<Runtime> runtime_ =
      *Runtime::Create({.cores = 1, .pin = false});
  SpinService service_;
  Reply reply_{1024};
};

// The clock decides, so it can never be less; a machine that is busy makes it
// more, which no bound here could tell from an error.
TEST_F(SpinServiceTest, BurnsAtLeastWhatWasAsked) {
  EXPECT_GE(Handle(200us), 200us);
}

TEST_F(SpinServiceTest, NoServiceTimeIsAnEcho) { EXPECT_GE(Handle(0us), 0us); }

}  // namespace
}  // namespace yamanote::apps
