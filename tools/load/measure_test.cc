// measure_test.cc - the whole generator against servers on the loopback, good and
// bad. Machines that run tests are busy: no test expects a latency, only that
// every request is accounted for and that nothing hangs.

#include "tools/load/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "tools/load/fake_server.h"

namespace yamanote::load {
namespace {

using std::chrono::milliseconds;

LoadOptions Options(Application application, Transport transport,
                    const FakeServer& server, const char* service) {
  LoadOptions options;
  options.target = *ParseTarget(server.address());
  options.transport = transport;
  options.workload = *Workload::Parse(application, service);
  options.duration = milliseconds(300);
  options.warmup = milliseconds(50);
  options.drain = milliseconds(200);
  options.connections = 8;
  options.kv.keys = 200;
  return options;
}

// For servers that answer everything: ends with the last answer, and gives a
// starved machine the time it needs.
LoadOptions Patient(LoadOptions options) {
  options.drain = std::chrono::seconds(5);
  return options;
}

// All requests of a point end as exactly one of answered, refused and lost.
void ExpectAccounted(const PointResult& point) {
  uint64_t answered = 0, lost = 0, refused = 0;
  for (const ClassResult& c : point.classes) {
    answered += c.answered;
    lost += c.lost;
    refused += c.refused;
  }
  EXPECT_EQ(answered, point.answered);
  EXPECT_EQ(lost, point.lost);
  EXPECT_EQ(refused, point.refused);
  EXPECT_EQ(point.latency_us.samples, answered + lost + refused);
}

struct Case {
  Application application;
  Transport transport;
  const char* service;
};

class MeasureTest : public testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(
    Protocols, MeasureTest,
    testing::Values(
        Case{Application::kSpin, Transport::kUdp, "bimodal:90%:1us,10%:20us"},
        Case{Application::kSpin, Transport::kTcp, "exp:2us"},
        Case{Application::kKv, Transport::kUdp, "get:90%,set:5%,mget50:5%"},
        Case{Application::kKv, Transport::kTcp, "get:90%,set:5%,mget50:5%"}));

TEST_P(MeasureTest, AnswersAreAllMatched) {
  FakeServer server(GetParam().application, GetParam().transport,
                    Manners::kHonest);
  LoadOptions options =
      Patient(Options(GetParam().application, GetParam().transport, server,
                      GetParam().service));
  options.threads = 2;
  options.repeat = 2;
  Measurement measurement(options);
  const auto ready = measurement.Prepare();
  ASSERT_TRUE(ready) << ready.error().message;
  const auto point = measurement.Measure(2000);
  ASSERT_TRUE(point) << point.error().message;
  ExpectAccounted(*point);
  EXPECT_GT(point->generator_busy.value(), 0);
  EXPECT_LE(point->generator_busy.value(), 1);
  // 2 seeds, 0.3 s at 2000 rps: 1200 expected, standard deviation 35.
  EXPECT_NEAR(static_cast<double>(point->sent), 1200, 200);
  EXPECT_EQ(point->lost, 0u);
  EXPECT_EQ(point->refused, 0u);
  EXPECT_EQ(point->unmatched, 0u);
  EXPECT_EQ(point->duplicates, 0u);
  EXPECT_EQ(point->misses, 0u);
  EXPECT_EQ(point->runs.size(), 2u);
  EXPECT_EQ(point->seeds, (std::vector<uint64_t>{1, 2}));
  EXPECT_GT(point->latency_us.p50, 1);
  EXPECT_GT(point->slowdown.samples, 0u);
}

TEST_P(MeasureTest, UnansweredRequestsAreLost) {
  FakeServer server(GetParam().application, GetParam().transport,
                    Manners::kSilentAfter);
  LoadOptions options = Options(GetParam().application, GetParam().transport,
                                server, GetParam().service);
  Measurement measurement(options);
  // Filling a store that falls silent fails, in words; spin goes on.
  const auto ready = measurement.Prepare();
  if (!ready) {
    EXPECT_EQ(ready.error().code, ErrorCode::kUnavailable);
    return;
  }
  const auto point = measurement.Measure(2000);
  ASSERT_TRUE(point) << point.error().message;
  ExpectAccounted(*point);
  EXPECT_EQ(point->answered, 0u);
  EXPECT_FALSE(point->valid);
}

TEST_P(MeasureTest, RefusalsAreCounted) {
  FakeServer server(GetParam().application, GetParam().transport,
                    Manners::kRefuses);
  Measurement measurement(
      Patient(Options(GetParam().application, GetParam().transport, server,
                      GetParam().service)));
  const auto ready = measurement.Prepare();
  // What was refused is stored again.
  ASSERT_TRUE(ready) << ready.error().message;
  const auto point = measurement.Measure(2000);
  ASSERT_TRUE(point) << point.error().message;
  ExpectAccounted(*point);
  EXPECT_NEAR(static_cast<double>(point->refused),
              static_cast<double>(point->sent) / 10,
              2 + static_cast<double>(point->sent) / 50);
  EXPECT_TRUE(std::isinf(point->latency_us.p99));
  EXPECT_EQ(point->lost, 0u);
}

TEST_P(MeasureTest, GarbageNeverHangsIt) {
  FakeServer server(GetParam().application, GetParam().transport,
                    Manners::kGarbage);
  Measurement measurement(Options(GetParam().application, GetParam().transport,
                                  server, GetParam().service));
  // Said so: the store could not be filled.
  if (!measurement.Prepare()) return;
  const auto point = measurement.Measure(2000);
  ASSERT_TRUE(point) << point.error().message;
  ExpectAccounted(*point);
  EXPECT_EQ(point->answered, 0u);
  EXPECT_GT(point->unmatched, 0u);
  EXPECT_FALSE(point->valid);
}

TEST(MeasureUdpTest, DroppedRequestsAreInfinite) {
  FakeServer server(Application::kSpin, Transport::kUdp, Manners::kDropsTenth);
  Measurement measurement(
      Options(Application::kSpin, Transport::kUdp, server, "fixed:1us"));
  ASSERT_TRUE(measurement.Prepare());
  const auto point = measurement.Measure(2000);
  ASSERT_TRUE(point);
  ExpectAccounted(*point);
  EXPECT_NEAR(static_cast<double>(point->lost),
              static_cast<double>(point->sent) / 10,
              2 + static_cast<double>(point->sent) / 50);
  EXPECT_TRUE(std::isinf(point->latency_us.p99));
  EXPECT_TRUE(std::isfinite(point->latency_us.p50));
}

TEST(MeasureUdpTest, SecondAndReorderedAnswersAreNoAnswers) {
  for (const Manners manners : {Manners::kTwice, Manners::kReorders}) {
    FakeServer server(Application::kSpin, Transport::kUdp, manners);
    LoadOptions options = Patient(
        Options(Application::kSpin, Transport::kUdp, server, "fixed:1us"));
    options.arrivals = *Arrivals::Parse("burst:8");
    Measurement measurement(options);
    ASSERT_TRUE(measurement.Prepare());
    const auto point = measurement.Measure(2000);
    ASSERT_TRUE(point);
    ExpectAccounted(*point);
    EXPECT_EQ(point->lost, 0u);
    EXPECT_EQ(point->answered, point->sent);
    if (manners == Manners::kTwice) {
      EXPECT_GT(point->duplicates, 0u);
    } else {
      EXPECT_EQ(point->duplicates, 0u);
    }
  }
}

TEST(MeasureTcpTest, ClosedConnectionsEndTheRunAndAreCounted) {
  FakeServer server(Application::kSpin, Transport::kTcp, Manners::kCloses);
  LoadOptions options =
      Options(Application::kSpin, Transport::kTcp, server, "fixed:0us");
  options.duration = std::chrono::seconds(2);
  options.warmup = Duration(0);
  Measurement measurement(options);
  ASSERT_TRUE(measurement.Prepare());
  const Instant start = Clock::now();
  const auto point = measurement.Measure(500);
  ASSERT_TRUE(point);
  ExpectAccounted(*point);
  EXPECT_EQ(point->closed_connections, 8u);
  EXPECT_GT(point->lost, 900u);  // Of about 1000.
  // All connections are gone: waiting for the schedule's end is of no use.
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(2));
}

// The server's receive buffer, ours and the backlog fill up; then requests are
// not sent, and count as lost.
TEST(MeasureTcpTest, AServerThatStopsReadingIsSurvived) {
  FakeServer server(Application::kKv, Transport::kTcp, Manners::kStopsReading);
  LoadOptions options =
      Options(Application::kKv, Transport::kTcp, server, "set");
  options.kv.keys = 10;
  options.kv.value_bytes = 500'000;
  options.connections = 2;
  options.workload = *Workload::Parse(Application::kKv, "set");
  Measurement measurement(options);
  if (!measurement.Prepare()) return;
  const auto point = measurement.Measure(400);
  ASSERT_TRUE(point);
  ExpectAccounted(*point);
  EXPECT_GT(point->lost, 0u);
}

TEST(MeasureErrorTest, NobodyListens) {
  LoadOptions options;
  {
    const FakeServer gone(Application::kSpin, Transport::kTcp,
                          Manners::kHonest);
    options = Options(Application::kSpin, Transport::kTcp, gone, "fixed:1us");
  }
  const auto ready = Measurement(options).Prepare();
  ASSERT_FALSE(ready);
  EXPECT_THAT(ready.error().message,
              testing::HasSubstr("is the server running"));
  options.transport = Transport::kUdp;
  const auto silent = Measurement(options).Prepare();
  ASSERT_FALSE(silent);
  EXPECT_THAT(silent.error().message,
              testing::HasSubstr("does not answer a spin request"));
}

TEST(MeasureErrorTest, TargetsAreReadOrRefused) {
  EXPECT_TRUE(ParseTarget("127.0.0.1:80"));
  EXPECT_TRUE(ParseTarget("[::1]:80"));
  for (const char* bad :
       {"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "1.2.3.4:65536",
        "::1:80", ":80", "127.0.0.1:8o", "127.0.0.1:123456"}) {
    const auto target = ParseTarget(bad);
    ASSERT_FALSE(target) << bad;
    EXPECT_THAT(target.error().message, testing::HasSubstr("for example"));
  }
}

TEST(MeasureRecordTest, TheRecordingHasEveryRequest) {
  FakeServer server(Application::kSpin, Transport::kUdp, Manners::kHonest);
  LoadOptions options = Patient(
      Options(Application::kSpin, Transport::kUdp, server, "fixed:1us"));
  options.warmup = Duration(0);
  options.record_path =
      testing::TempDir() + "/load-record-" + std::to_string(getpid()) + ".csv";
  Measurement measurement(options);
  ASSERT_TRUE(measurement.Prepare());
  const auto point = measurement.Measure(1000);
  ASSERT_TRUE(point);
  std::ifstream file(options.record_path);
  std::string line;
  ASSERT_TRUE(std::getline(file, line));
  EXPECT_EQ(line,
            "seed,intended_ns,sent_ns,received_ns,class,service_ns,"
            "connection,status");
  uint64_t rows = 0;
  while (std::getline(file, line)) {
    ++rows;
    EXPECT_THAT(
        line, testing::MatchesRegex("1,[0-9]+,[0-9]+,[0-9]+,0,1000,[0-9]+,ok"));
  }
  EXPECT_EQ(rows, point->sent);
  unlink(options.record_path.c_str());
}

TEST(MeasureRecordTest, WhatCannotBeRecordedIsStillMeasured) {
  FakeServer server(Application::kSpin, Transport::kUdp, Manners::kHonest);
  LoadOptions options = Patient(
      Options(Application::kSpin, Transport::kUdp, server, "fixed:1us"));
  options.record_path = "/dev/full";
  Measurement measurement(options);
  ASSERT_TRUE(measurement.Prepare());
  EXPECT_TRUE(measurement.recording());
  const auto point = measurement.Measure(1000);
  ASSERT_TRUE(point) << point.error().message;
  EXPECT_GT(point->answered, 0u);
  ASSERT_FALSE(measurement.recording());
  EXPECT_THAT(measurement.recording().error().message,
              testing::HasSubstr("is the disk full?"));
}

TEST(MeasureStopTest, AStoppedRunIsInvalid) {
  FakeServer server(Application::kSpin, Transport::kUdp, Manners::kHonest);
  LoadOptions options =
      Options(Application::kSpin, Transport::kUdp, server, "fixed:1us");
  options.duration = std::chrono::seconds(60);
  Measurement measurement(options);
  ASSERT_TRUE(measurement.Prepare());
  measurement.Stop();
  const auto point = measurement.Measure(1000);
  ASSERT_TRUE(point);
  EXPECT_FALSE(point->valid);
  EXPECT_THAT(point->why_invalid, testing::HasSubstr("interrupted"));
}

}  // namespace
}  // namespace yamanote::load
