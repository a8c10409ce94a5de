// sim_tool_test.cc - scenarios, their limits, traces, and runs side by side.

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "tools/config/options.h"
#include "tools/output/json.h"
#include "tools/sim/json.h"
#include "tools/sim/limits.h"
#include "tools/sim/simulate.h"
#include "tools/sim/test_settings.h"

namespace yamanote::simulation {
namespace {

using namespace std::chrono_literals;
using tools::Config;

Result<Scenario> Make(
    const std::vector<std::pair<std::string, std::string>>& values) {
  const Result<Config> config =
      tools::Build(Settings(values), tools::Use::kSimulate);
  if (!config) return tl::unexpected(config.error());
  return MakeScenario(*config);
}

Outcome RunIt(const Scenario& scenario, unsigned jobs = 1) {
  Progress progress;
  return Simulate({&scenario, 1}, jobs, progress, [] { return false; }).front();
}

TEST(ScenarioTest, LoadIsAShareOfWhatTheCoresCouldDo) {
  const auto scenario = Make({{"sim.service", "bimodal:99.5%:5us,0.5%:500us"},
                              {"sim.cores", "8"},
                              {"sim.load", "50%"}});
  ASSERT_TRUE(scenario) << scenario.error().message;
  // 7.475 us each.
  EXPECT_NEAR(scenario->mean_service_ns, 7475, 1);
  EXPECT_NEAR(scenario->rate_rps, 0.5 * 8 / 7.475e-6, 1);
  EXPECT_EQ(ClassNames(*scenario), (std::vector<std::string>{"5us", "500us"}));
}

TEST(ScenarioTest, PartsWithoutAPresetStartFromOneQueue) {
  const auto fifo = Make({{"sim.service", "exp:10us"},
                          {"scheduling.order", "fifo"},
                          {"scheduling.placement", "central"}});
  ASSERT_TRUE(fifo) << fifo.error().message;
  EXPECT_EQ(fifo->scheduling.preset, "custom");
  EXPECT_EQ(fifo->scheduling.dispatcher, DispatcherKind::kShared);
  EXPECT_EQ(fifo->scheduling.slice, SliceRange());
  const auto preset = Make({{"sim.service", "exp:10us"}});
  ASSERT_TRUE(preset) << preset.error().message;
  EXPECT_EQ(preset->scheduling.preset, kDefaultPreset);
}

TEST(ScenarioTest, ARateIsItself) {
  const auto scenario = Make({{"sim.service", "fixed:10us"},
                              {"sim.cores", "4"},
                              {"sim.rate", "200k"}});
  ASSERT_TRUE(scenario) << scenario.error().message;
  EXPECT_NEAR(scenario->load, 0.5, 1e-9);
}

TEST(ScenarioTest, ClassesHaveObjectivesAndLimits) {
  const auto scenario = Make({{"sim.service", "bimodal:99.5%:5us,0.5%:500us"},
                              {"scheduling.classes", "500us:slo=2ms,limit=7"}});
  ASSERT_TRUE(scenario) << scenario.error().message;
  EXPECT_EQ(scenario->scheduling.classes[0].slo, 50us);
  EXPECT_EQ(scenario->scheduling.classes[1].slo, 2ms);
  EXPECT_EQ(scenario->scheduling.classes[1].limit, 7U);

  const auto unknown = Make(
      {{"sim.service", "fixed:5us"}, {"scheduling.classes", "long:slo=2ms"}});
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("long"), std::string::npos);
}

TEST(ScenarioTest, WhatIsImpossibleIsRefusedWithItsKey) {
  const auto refused =
      [](const std::vector<std::pair<std::string, std::string>>& values) {
        const auto scenario = Make(values);
        return scenario ? "" : scenario.error().message;
      };
  EXPECT_NE(refused({}).find("sim.service"), std::string::npos);
  EXPECT_NE(refused({{"sim.service", "gauss:1us"}}).find("gauss"),
            std::string::npos);
  EXPECT_NE(refused({{"sim.service", "fixed:1us"}, {"sim.cores", "5000"}})
                .find("4096"),
            std::string::npos);
  EXPECT_NE(refused({{"sim.service", "fixed:1us"},
                     {"scheduling.order", "ps"},
                     {"costs.hop", "1us"}})
                .find("ideal"),
            std::string::npos);
  EXPECT_NE(refused({{"sim.service", "fixed:1us"}, {"sim.trace", "/none"}})
                .find("leave one"),
            std::string::npos);
  EXPECT_NE(refused({{"sim.trace", "/none"}}).find("/none"), std::string::npos);
  EXPECT_NE(refused({{"sim.service", "fixed:1us"},
                     {"sim.arrivals", "fixed"},
                     {"sim.period", "1ms"}})
                .find("poisson"),
            std::string::npos);
}

// rho_max = 1 / (1 + c E[ceil(S/q) - 1] / E[S]): half 1 us and half 100 us, slices of
// 5 us, 1 us each: 0.84; 0.3 us: 0.95; 0.1 us: 0.98.
TEST(LimitsTest, PreemptionsLimitTheLoad) {
  for (const auto& [cost, limit] : std::vector<std::pair<std::string, double>>{
           {"1us", 0.84}, {"300ns", 0.95}, {"100ns", 0.98}}) {
    const auto scenario = Make({{"sim.service", "bimodal:50%:1us,50%:100us"},
                                {"sim.cores", "16"},
                                {"scheduling.preset", "tq"},
                                {"scheduling.slice", "5us"},
                                {"costs.preempt_receiver", cost}});
    ASSERT_TRUE(scenario) << scenario.error().message;
    const double ideal = 16e9 / scenario->mean_service_ns;
    EXPECT_NEAR(HighestRate(*scenario) / ideal, limit, 0.005) << cost;
  }
}

TEST(LimitsTest, ADispatcherIsALimitOfItsOwn) {
  const auto scenario = Make({{"sim.service", "fixed:1us"},
                              {"sim.cores", "64"},
                              {"scheduling.preset", "shinjuku"},
                              {"scheduling.slice", "none"},
                              {"costs.dispatch", "200ns"}});
  ASSERT_TRUE(scenario) << scenario.error().message;
  EXPECT_NEAR(HighestRate(*scenario), 5e6, 1);
  const Result<void> stable = CheckStable(*scenario);
  ASSERT_FALSE(stable);
  EXPECT_NE(stable.error().message.find("dispatcher"), std::string::npos);
}

// Two connections keep two cores busy at most, and one if they are on the same.
TEST(LimitsTest, FewConnectionsLeaveCoresIdle) {
  const auto scenario = Make({{"sim.service", "fixed:10us"},
                              {"sim.cores", "16"},
                              {"sim.connections", "2"},
                              {"scheduling.preset", "ix"}});
  ASSERT_TRUE(scenario) << scenario.error().message;
  EXPECT_LE(HighestRate(*scenario), 200'001);
  EXPECT_FALSE(CheckStable(*scenario));
}

// A system above its limit fills up, one below does not.
TEST(LimitsTest, TheLimitIsWhereQueuesBeginToGrow) {
  for (const auto& [load, refuses] : std::vector<std::pair<std::string, bool>>{
           {"0.92", false}, {"1.0", true}}) {
    const auto scenario = Make({{"sim.service", "exp:10us"},
                                {"sim.cores", "4"},
                                {"sim.load", load},
                                {"sim.requests", "400k"},
                                {"scheduling.preset", "tq"},
                                {"scheduling.slice", "5us"},
                                {"scheduling.classes", "all:limit=2000"},
                                {"costs.preempt_receiver", "300ns"},
                                {"costs.context_switch", "100ns"}});
    ASSERT_TRUE(scenario) << scenario.error().message;
    EXPECT_EQ(static_cast<bool>(CheckStable(*scenario)), !refuses) << load;
    EXPECT_EQ(RunIt(*scenario).refused > 0, refuses) << load;
  }
}

TEST(SimulateTest, TheOutcomeDoesNotDependOnHowManyRunAtATime) {
  const auto scenario = Make({{"sim.service", "bimodal:99%:5us,1%:100us"},
                              {"sim.cores", "6"},
                              {"sim.requests", "20k"},
                              {"sim.runs", "7"},
                              {"scheduling.preset", "zygos"}});
  ASSERT_TRUE(scenario) << scenario.error().message;
  const std::string alone =
      tools::JsonText(ToJson(*scenario, RunIt(*scenario, 1)));
  EXPECT_EQ(tools::JsonText(ToJson(*scenario, RunIt(*scenario, 5))), alone);
}

TEST(SimulateTest, ItSaysWhatTheCoresDid) {
  const auto scenario = Make({{"sim.service", "fixed:10us"},
                              {"sim.cores", "2"},
                              {"sim.load", "0.5"},
                              {"sim.requests", "20k"},
                              {"scheduling.preset", "zygos"},
                              {"costs.context_switch", "1us"}});
  ASSERT_TRUE(scenario) << scenario.error().message;
  const Outcome outcome = RunIt(*scenario);
  EXPECT_NEAR(outcome.busy, 0.5, 0.02);
  EXPECT_NEAR(outcome.beside, 0.05, 0.005);
  EXPECT_NEAR(outcome.achieved_rps, scenario->rate_rps,
              0.03 * scenario->rate_rps);
}

// Half of four cores' work needs a little more than two; the batch program has the rest.
TEST(SimulateTest, AnArbiterGivesAsManyCoresAsAreNeeded) {
  const auto scenario = Make({{"sim.service", "exp:10us"},
                              {"sim.cores", "4"},
                              {"sim.load", "0.5"},
                              {"sim.requests", "50k"},
                              {"sim.batch", "true"},
                              {"arbiter.interval", "5us"},
                              {"scheduling.preset", "shenango"}});
  ASSERT_TRUE(scenario) << scenario.error().message;
  const Outcome outcome = RunIt(*scenario);
  EXPECT_GT(outcome.cores_held, 2);
  EXPECT_LT(outcome.cores_held, 2.8);
  EXPECT_NEAR(outcome.efficiency, 2 / outcome.cores_held, 0.03);
  EXPECT_NEAR(outcome.cores_held + outcome.batch_cores, 4, 0.05);
  EXPECT_GT(outcome.grants_rps, 1000);
}

// The same requests, the same order, no costs: the same latencies.
TEST(SimulateTest, NativeThreadsWithoutCostsAreAsRequests) {
  for (const char* placement : {"central", "stealing"}) {
    Outcome outcomes[2];
    for (const bool native : {false, true}) {
      const auto scenario = Make({{"sim.service", "exp:10us"},
                                  {"sim.cores", "4"},
                                  {"sim.load", "0.8"},
                                  {"sim.requests", "50k"},
                                  {"scheduling.order", "fifo"},
                                  {"scheduling.placement", placement},
                                  {"sim.native", native ? "true" : "false"}});
      ASSERT_TRUE(scenario) << scenario.error().message;
      outcomes[native ? 1 : 0] = RunIt(*scenario);
    }
    const sim::Figures& requests = outcomes[0].classes[0].latency_us;
    const sim::Figures& threads = outcomes[1].classes[0].latency_us;
    EXPECT_EQ(requests.samples, threads.samples);
    EXPECT_NEAR(threads.mean.value / requests.mean.value, 1, 0.02) << placement;
    EXPECT_NEAR(threads.p99.value / requests.p99.value, 1, 0.05) << placement;
    EXPECT_EQ(outcomes[1].messages, 2 * outcomes[1].requests);
  }
}

// As hints; so threads are ordered as the requests are.
TEST(SimulateTest, NativeThreadsHaveTheRequestsClasses) {
  Outcome outcomes[2];
  for (const bool native : {false, true}) {
    const auto scenario = Make({{"sim.service", "bimodal:90%:10us,10%:1ms"},
                                {"sim.cores", "4"},
                                {"sim.load", "0.7"},
                                {"sim.requests", "50k"},
                                {"scheduling.order", "slo-ratio"},
                                {"scheduling.placement", "central"},
                                {"sim.native", native ? "true" : "false"}});
    ASSERT_TRUE(scenario) << scenario.error().message;
    outcomes[native ? 1 : 0] = RunIt(*scenario);
  }
  ASSERT_EQ(outcomes[1].classes.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(outcomes[1].classes[i].latency_us.p99.value /
                    outcomes[0].classes[i].latency_us.p99.value,
                1, 0.05)
        << i;
  }
}

// Every thread waits for its agent to wake, read, and commit.
TEST(SimulateTest, AgentsTakeTheirTime) {
  const auto scenario = Make({{"sim.service", "fixed:10us"},
                              {"sim.cores", "2"},
                              {"sim.load", "0.1"},
                              {"sim.requests", "5k"},
                              {"scheduling.order", "fifo"},
                              {"scheduling.placement", "central"},
                              {"costs.agent_wake", "3us"},
                              {"costs.message", "200ns"},
                              {"costs.commit", "800ns"},
                              {"costs.context_switch", "1us"},
                              {"sim.native", "true"}});
  ASSERT_TRUE(scenario) << scenario.error().message;
  EXPECT_NEAR(RunIt(*scenario).classes[0].latency_us.p50.value, 15, 0.2);
}

TEST(ScenarioTest, WhatNativeThreadsCannotHaveIsRefused) {
  const auto message =
      [](const std::vector<std::pair<std::string, std::string>>& more) {
        std::vector<std::pair<std::string, std::string>> all = {
            {"sim.service", "exp:10us"}, {"sim.native", "true"}};
        all.insert(all.end(), more.begin(), more.end());
        const auto scenario = Make(all);
        return scenario ? std::string() : scenario.error().message;
      };
  EXPECT_EQ(message({{"scheduling.preset", "shinjuku"}}), "");
  EXPECT_THAT(message({{"scheduling.preset", "yamanote"}}),
              testing::HasSubstr("slice is 'adaptive'"));
  EXPECT_THAT(message({{"scheduling.preset", "ix"}}),
              testing::HasSubstr("sim.native is true"));
  EXPECT_THAT(message({{"scheduling.order", "srpt"}}),
              testing::HasSubstr("an ideal"));
  EXPECT_THAT(
      message({{"scheduling.preset", "shenango"}, {"arbiter.interval", "5us"}}),
      testing::HasSubstr("leave one of the two out"));
}

TEST(ScenarioTest, WhatAnArbiterCannotHaveIsRefused) {
  const auto message =
      [](const std::vector<std::pair<std::string, std::string>>& more) {
        std::vector<std::pair<std::string, std::string>> all = {
            {"sim.service", "exp:10us"}, {"sim.cores", "4"}};
        all.insert(all.end(), more.begin(), more.end());
        const auto scenario = Make(all);
        return scenario ? std::string() : scenario.error().message;
      };
  const std::pair<std::string, std::string> on = {"arbiter.interval", "5us"};
  EXPECT_EQ(message({on, {"scheduling.preset", "shenango"}}), "");
  for (const char* preset : {"ix", "tq", "persephone"}) {
    EXPECT_THAT(message({on, {"scheduling.preset", preset}}),
                testing::HasSubstr("an arbiter may take any core"))
        << preset;
  }
  EXPECT_THAT(message({{"sim.batch", "true"}}),
              testing::HasSubstr("set --arbiter-interval"));
  EXPECT_THAT(message({on, {"sim.guaranteed", "5"}}),
              testing::HasSubstr("sim.cores is 4; lower it"));
  EXPECT_THAT(message({on, {"arbiter.delay_low", "5us"}}),
              testing::HasSubstr("above arbiter.delay_high, 4us"));
  EXPECT_THAT(message({on, {"scheduling.order", "ps"}}),
              testing::HasSubstr("leave the arbiter out"));
}

// Requests that come in bursts, or on few connections, wait longer.
TEST(SimulateTest, BurstsAndFewConnectionsAreWorse) {
  const auto p99 = [](const std::string& key, const std::string& value,
                      const std::string& preset) {
    const auto scenario = Make({{"sim.service", "fixed:10us"},
                                {"sim.cores", "8"},
                                {"sim.load", "0.5"},
                                {"sim.requests", "100k"},
                                {"scheduling.preset", preset},
                                {key, value}});
    EXPECT_TRUE(scenario) << scenario.error().message;
    return RunIt(*scenario).classes[0].latency_us.p99.value;
  };
  EXPECT_GT(p99("sim.arrivals", "burst:32", "zygos"),
            1.5 * p99("sim.arrivals", "poisson", "zygos"));
  EXPECT_LE(p99("sim.arrivals", "fixed", "zygos"),
            p99("sim.arrivals", "poisson", "zygos"));
  EXPECT_GT(p99("sim.connections", "40", "ix"),
            1.1 * p99("sim.connections", "one-each", "ix"));
  EXPECT_GT(p99("sim.period", "20ms", "zygos"),
            p99("sim.period", "none", "zygos"));
}

TEST(TraceTest, ReadsCsv) {
  const auto trace = ParseTrace(
      "# a comment\n"
      "at_us,service_us,class,connection\n"
      "10,5,get,a\n"
      "10.5,500,scan,b\n"
      "12,5,get,a\n",
      "t.csv");
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_EQ(trace->requests.size(), 3U);
  EXPECT_EQ(trace->requests[0].at_ns, 0);
  EXPECT_EQ(trace->requests[1].at_ns, 500);
  EXPECT_EQ(trace->requests[1].service_ns, 500'000);
  EXPECT_EQ(trace->requests[1].request_class, 1);
  EXPECT_EQ(trace->requests[2].connection, trace->requests[0].connection);
  EXPECT_EQ(trace->classes, (std::vector<std::string>{"get", "scan"}));
}

TEST(TraceTest, ReadsJsonLines) {
  const auto trace = ParseTrace(
      "{\"at_ns\": 5, \"service_ns\": 100}\n"
      "{\"service_ns\": 200, \"at_ns\": 15, \"note\": null}\n",
      "t.jsonl");
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_EQ(trace->requests.size(), 2U);
  EXPECT_EQ(trace->requests[1].at_ns, 10);
  EXPECT_EQ(trace->requests[1].service_ns, 200);
}

// Times that count from 1970 keep their nanoseconds.
TEST(TraceTest, ReadsLargeTimesExactly) {
  const auto trace = ParseTrace(
      "at_us,service_ns\n1764255123456789.125,1\n1764255123456789.250,2\n"
      "1764255123456790,3\n",
      "t.csv");
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(trace->requests[1].at_ns, 125);
  EXPECT_EQ(trace->requests[2].at_ns, 875);
}

// What `yamanote load spin --record` writes; the second seed is another run.
TEST(TraceTest, ReadsARecording) {
  const auto trace = ParseTrace(
      "seed,intended_ns,sent_ns,received_ns,class,service_ns,connection,"
      "status\n"
      "1,100,110,9000,0,5000,3,ok\n"
      "1,400,,,1,50000,4,lost\n"
      "2,50,60,7000,0,5000,3,ok\n",
      "r.csv");
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_EQ(trace->requests.size(), 2U);
  EXPECT_EQ(trace->requests[1].at_ns, 300);
}

TEST(TraceTest, AnEmptyFileHasNoRequests) {
  const std::string path = testing::TempDir() + "empty_trace.csv";
  std::ofstream(path).close();
  const auto trace = ReadTrace(path);
  std::filesystem::remove(path);
  ASSERT_FALSE(trace);
  EXPECT_NE(trace.error().message.find("no requests"), std::string::npos)
      << trace.error().message;
}

TEST(TraceTest, ErrorsNameTheLine) {
  const auto message = [](std::string_view text) {
    const auto trace = ParseTrace(text, "t.csv");
    return trace ? "" : trace.error().message;
  };
  EXPECT_NE(message("").find("no requests"), std::string::npos);
  EXPECT_NE(message("service_us\n1\n").find("t.csv:1: "), std::string::npos);
  EXPECT_NE(message("at_us\n1\n").find("service_ns"), std::string::npos);
  EXPECT_NE(message("at_us,service_us\n1,x\n").find("t.csv:2: "),
            std::string::npos);
  EXPECT_NE(message("at_us,service_us\n1,0\n").find("t.csv:2: "),
            std::string::npos);
  EXPECT_NE(message("at_us,service_us\n1,2,3\n").find("3 fields"),
            std::string::npos);
  EXPECT_NE(message("at_us,service_us\n5,2\n4,2\n").find("t.csv:3: "),
            std::string::npos);
  EXPECT_NE(message("at_us,service_us\n-5,2\n").find("from 0"),
            std::string::npos);
  EXPECT_NE(message("at_us,service_us\nnan,2\n").find("t.csv:2"),
            std::string::npos);
  EXPECT_NE(message("{\"at_us\": 1}\n").find("service"), std::string::npos);
  EXPECT_NE(message("{\"at_us\": 1\n").find("give each request one on a line"),
            std::string::npos);
}

}  // namespace
}  // namespace yamanote::simulation
