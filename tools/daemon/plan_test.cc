// plan_test.cc - what yamanoted can be told, and what it refuses.

#include "tools/daemon/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/topology.h"
#include "tools/config/values.h"
#include "tools/daemon/list.h"
#include "tools/output/json.h"

namespace yamanote::tools {
namespace {

using testing::HasSubstr;

Result<Config> Load(std::string_view toml) {
  const Result<std::vector<Setting>> settings = ParseToml(toml, "d.toml");
  if (!settings) return tl::unexpected(settings.error());
  return Build(*settings, Use::kArbitrate);
}

std::string ErrorOf(std::string_view toml) {
  const Result<Config> config = Load(toml);
  if (!config) return config.error().message;
  const auto options = PlanDaemon(*config);
  return options ? "" : options.error().message;
}

TEST(DaemonPlanTest, HandsOutAllThatItMayUse) {
  const auto options =
      PlanDaemon(*Load("[daemon]\nsocket = \"/tmp/x.sock\"\n"));
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->arbiter.cpus, base::AllowedCpus());
  EXPECT_EQ(options->arbiter.elsewhere, base::AllowedCpus());
  EXPECT_EQ(options->arbiter.siblings.size(), options->arbiter.cpus.size());
  EXPECT_EQ(options->server.rights.Of(geteuid()).guaranteed,
            arbiter::kMostCores);
  EXPECT_EQ(options->server.rights.Of(4711).guaranteed, 0);
}

TEST(DaemonPlanTest, WorkersParkByThemselvesWhereNobodyPolls) {
  const auto options =
      PlanDaemon(*Load("[daemon]\nsocket = \"/tmp/x.sock\"\n"));
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_TRUE(options->server.always_park);
  EXPECT_EQ(options->server.park_after, std::chrono::microseconds(50));
}

TEST(DaemonPlanTest, ReadsEveryKey) {
  const auto config = Load(
      "[daemon]\nsocket = \"/tmp/x.sock\"\nleast_gap = \"50us\"\n"
      "idle_interval = \"2ms\"\nrevoke_deadline = \"200us\"\n"
      "move_deadline = \"4ms\"\nusers = \"root:apps=3; *:burst=1\"\n"
      "[arbiter]\ndelay = \"20us\"\npark_after = \"9us\"\n");
  ASSERT_TRUE(config) << config.error().message;
  const auto options = PlanDaemon(*config);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->least_gap, std::chrono::microseconds(50));
  EXPECT_EQ(options->arbiter.move_deadline, std::chrono::milliseconds(4));
  EXPECT_EQ(options->arbiter.policies.delay, std::chrono::microseconds(20));
  EXPECT_EQ(options->server.park_after, std::chrono::microseconds(9));
  EXPECT_EQ(options->server.rights.Of(0).apps, 3);
  EXPECT_EQ(options->server.rights.Of(4711).burst, 1);
}

TEST(DaemonPlanTest, KeepsACoreForPolling) {
  const auto config =
      Load("[daemon]\nsocket = \"/tmp/x.sock\"\nmode = \"polling\"\n");
  ASSERT_TRUE(config);
  const auto options = PlanDaemon(*config);
  if (base::AllowedCpus().size() == 1) {
    EXPECT_FALSE(options);
    return;
  }
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->poll_cpu, base::AllowedCpus().back());
  EXPECT_FALSE(options->server.always_park);
  EXPECT_EQ(options->server.park_after, std::chrono::microseconds(2));
  EXPECT_EQ(options->arbiter.cpus.size(), base::AllowedCpus().size() - 1);
}

TEST(DaemonPlanTest, RefusesInTheWordsOfTheKey) {
  EXPECT_THAT(ErrorOf("[daemon]\ncpus = [8000]\n"),
              HasSubstr("d.toml:2: daemon.cpus = \"8000\" names CPU 8000"));
  EXPECT_THAT(ErrorOf("[daemon]\nmove_deadline = \"50us\"\n"),
              HasSubstr("not more than daemon.revoke_deadline = 100us"));
  EXPECT_THAT(ErrorOf("[daemon]\npoll_cpu = 0\n"), HasSubstr("nobody polls"));
  EXPECT_THAT(ErrorOf("[daemon]\nmode = \"poling\"\n"),
              HasSubstr("did you mean polling?"));
  EXPECT_THAT(ErrorOf("[arbiter]\ninterval = \"5us\"\n"),
              HasSubstr("daemon.poll_interval"));
  EXPECT_THAT(ErrorOf("[daemon]\nusers = \"nobody-here:apps=1\"\n"),
              HasSubstr("\"nobody-here\" is no user"));
  EXPECT_THAT(ErrorOf("[daemon]\nusers = \"root\"\n"),
              HasSubstr("write NAME:guaranteed=2"));
  EXPECT_THAT(ErrorOf("[daemon]\nusers = \"root:apps=65\"\n"),
              HasSubstr("limits 0 .. 64"));
  EXPECT_THAT(ErrorOf("[daemon]\nusers = \"root:cores=1\"\n"),
              HasSubstr("none of guaranteed=N"));
  EXPECT_THAT(ErrorOf("[daemon]\nusers = \"0:apps=1;0:apps=2\"\n"),
              HasSubstr("named twice"));
}

TEST(DaemonListTest, IsTheDocumentThatIsPromised) {
  arbiter::Status status{
      .cpus = {4, 5}, .guaranteed = 1, .apps = {}, .times = {}};
  status.times = {.passes = 4,
                  .total = std::chrono::microseconds(8),
                  .longest = std::chrono::microseconds(5)};
  status.apps.push_back({.name = "kv",
                         .pid = 7,
                         .uid = 1000,
                         .policy = "delay",
                         .limits = {.guaranteed = 1, .most = 2},
                         .cores = {{.core = 0,
                                    .cpu = 4,
                                    .state = arbiter::CoreState::kRunning,
                                    .why = arbiter::Why::kHome}},
                         .counters = {.grants = 3}});
  const auto document =
      ParseJson(ListJson(status, arbiter::DaemonOptions::Mode::kEvents));
  EXPECT_EQ(document["schema"], "yamanote.apps/1");
  EXPECT_EQ(document["pass_mean_ns"], 2000);
  EXPECT_EQ(document["apps"][0]["cores"][0]["why"], "home");
  EXPECT_EQ(document["apps"][0]["grants"], 3);
}

}  // namespace
}  // namespace yamanote::tools
