// command_test.cc - `yamanote load` from its flags to its files and exit status.

#include "tools/load/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tools/command.h"
#include "tools/load/fake_server.h"
#include "tools/load/result.h"

namespace yamanote::tools {
namespace {

using load::Application;
using load::FakeServer;
using load::Manners;
using testing::HasSubstr;

struct Outcome {
  int code = 0;
  std::string out{};
  std::string err{};
};

// Runs the command as main() does.
Outcome Yamanote(std::vector<std::string> arguments) {
  CLI::App app("test", "yamanote");
  AddLoadCommand(app);
  std::reverse(arguments.begin(), arguments.end());
  Outcome outcome;
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::RuntimeError& error) {
    outcome.code = error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    outcome.code = kUsage;
  }
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

std::string ReadFile(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(LoadCommandTest, SweepWritesTableJsonAndReport) {
  FakeServer server(Application::kKv, Transport::kTcp, Manners::kHonest);
  const std::string base =
      testing::TempDir() + "/load-command-" + std::to_string(getpid());
  const Outcome outcome = Yamanote(
      {"load",    "kv",          "--target",  server.address(),  "--rates",
       "500,1k",  "--duration",  "0.2",       "--warmup",        "0.05",
       "--drain", "0.2",         "--service", "get:90%,set:10%", "--keys",
       "50",      "--label",     "fake",      "--json",          base + ".json",
       "--html",  base + ".html"});
  // A busy machine may make a point invalid: then the status is 1 and says why.
  if (outcome.code != kOk) {
    EXPECT_THAT(outcome.out, HasSubstr("INVALID"));
  }
  EXPECT_THAT(outcome.out, HasSubstr("fake: kv at 127.0.0.1"));
  const auto result = load::ParseLoadResult(ReadFile(base + ".json"));
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(result->points.size(), 2u);
  EXPECT_EQ(result->points[1].offered_rps, 1000);
  EXPECT_EQ(result->points[1].lost, 0u);
  EXPECT_EQ(result->points[1].classes[1].name, "set");
  EXPECT_EQ(result->label, "fake");
  EXPECT_THAT(ReadFile(base + ".html"), HasSubstr("fake"));
  unlink((base + ".json").c_str());
  unlink((base + ".html").c_str());
}

TEST(LoadCommandTest, JsonOnStandardOutputIsAllThereIs) {
  FakeServer server(Application::kSpin, Transport::kUdp, Manners::kHonest);
  const Outcome outcome =
      Yamanote({"load", "spin", "--target", server.address(), "--rate", "500",
                "--duration", "0.1", "--warmup", "0", "--service", "fixed:1us",
                "--json", "-"});
  const auto result = load::ParseLoadResult(outcome.out);
  ASSERT_TRUE(result) << result.error().message << outcome.out;
  EXPECT_THAT(outcome.err, HasSubstr("spin at 127.0.0.1"));
}

// Half a second of latency at p50 is met by any machine that runs tests.
TEST(LoadCommandTest, MediansAreSaidToBeSo) {
  FakeServer server(Application::kSpin, Transport::kUdp, Manners::kHonest);
  const Outcome outcome =
      Yamanote({"load", "spin", "--target", server.address(), "--service",
                "fixed:1us", "--rate", "500", "--duration", "0.1", "--warmup",
                "0", "--repeat", "3", "--combine", "median", "--json", "-"});
  const auto result = load::ParseLoadResult(outcome.out);
  ASSERT_TRUE(result) << result.error().message << outcome.err;
  EXPECT_EQ(result->combining, "median");
  ASSERT_EQ(result->points.size(), 1u);
  EXPECT_EQ(result->points[0].runs.size(), 3u);
  EXPECT_THAT(outcome.err, HasSubstr("medians over the runs"));
}

TEST(LoadCommandTest, WhatWasMeasuredIsPrintedThoughItCouldNotBeRecorded) {
  FakeServer server(Application::kSpin, Transport::kUdp, Manners::kHonest);
  const Outcome outcome =
      Yamanote({"load", "spin", "--target", server.address(), "--service",
                "fixed:1us", "--rates", "400,500", "--duration", "0.1",
                "--warmup", "0", "--record", "/dev/full"});
  EXPECT_EQ(outcome.code, kFailed);
  EXPECT_THAT(outcome.out, HasSubstr("400 > "));
  EXPECT_THAT(outcome.out, HasSubstr("500 > "));
  EXPECT_THAT(outcome.err, HasSubstr("--record /dev/full"));
}

TEST(LoadCommandTest, SearchPrintsItsSteps) {
  FakeServer server(Application::kSpin, Transport::kUdp, Manners::kHonest);
  const Outcome outcome = Yamanote(
      {"load", "spin", "--target", server.address(), "--objective",
       "p50-latency<=500ms", "--rate-range", "100:500", "--duration", "0.1",
       "--warmup", "0", "--service", "fixed:1us", "--json", "-"});
  EXPECT_THAT(outcome.err, HasSubstr("searching for the highest load"));
  const auto result = load::ParseLoadResult(outcome.out);
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_TRUE(result->search);
  EXPECT_FALSE(result->search->steps.empty());
}

TEST(LoadCommandTest, ImpossibleArgumentsAreUsageErrors) {
  const std::vector<std::string> base = {"load", "spin", "--target",
                                         "127.0.0.1:9"};
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--service", "exp:10"}, "with its unit"},
      {{"--service", "exp:1us"}, "give exactly one"},
      {{"--service", "exp:1us", "--rate", "x"}, "--rate is 'x'"},
      {{"--service", "exp:1us", "--rate", "1k", "--rates", "1k"},
       "give exactly one"},
      {{"--service", "exp:1us", "--objective", "p99-slowdown<=10"},
       "--rate-range"},
      {{"--service", "exp:1us", "--objective", "fast", "--rate-range", "1:2"},
       "--objective: 'fast'"},
      {{"--service", "exp:1us", "--objective", "p99-slowdown<=10",
        "--rate-range", "2k:1k"},
       "LOW must be below HIGH"},
      {{"--service", "exp:1us", "--rate", "1k", "--threads", "8",
        "--connections", "4"},
       "raise --connections"},
      {{"--service", "exp:1us", "--rate", "1k", "--cpus", "1023"},
       "may not use"},
      {{"--service", "exp:1us", "--rate", "1k", "--arrivals", "x"}, "burst:16"},
  };
  for (const auto& [extra, words] : cases) {
    std::vector<std::string> arguments = base;
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    const Outcome outcome = Yamanote(arguments);
    EXPECT_EQ(outcome.code, kUsage) << words;
    EXPECT_THAT(outcome.err, HasSubstr(words));
  }
}

TEST(LoadCommandTest, ADeadTargetFails) {
  std::string address;
  {
    const FakeServer gone(Application::kKv, Transport::kTcp, Manners::kHonest);
    address = gone.address();
  }
  const Outcome outcome =
      Yamanote({"load", "kv", "--target", address, "--rate", "1k"});
  EXPECT_EQ(outcome.code, kFailed);
  EXPECT_THAT(outcome.err, HasSubstr("is the server running"));
}

}  // namespace
}  // namespace yamanote::tools
