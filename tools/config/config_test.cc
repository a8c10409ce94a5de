// config_test.cc - files and flags make one configuration, or a useful refusal.

#include "tools/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tools/config/flags.h"
#include "tools/config/options.h"

namespace yamanote::tools {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// What the command line `flags` and the file `toml` give together.
Result<Config> Load(std::string_view toml,
                    std::vector<std::string> flags = {}) {
  CLI::App app;
  const auto collected = std::make_shared<ConfigFlags>();
  AddConfigFlags(app, "kv", collected);
  std::reverse(flags.begin(), flags.end());  // As CLI::App::parse wants it.
  app.parse(flags);
  Result<std::vector<Setting>> settings = ParseToml(toml, "a.toml");
  if (!settings) return tl::unexpected(settings.error());
  settings->insert(settings->end(), collected->settings.begin(),
                   collected->settings.end());
  return Build(*settings);
}

std::string ErrorOf(std::string_view toml,
                    std::vector<std::string> flags = {}) {
  const Result<Config> config = Load(toml, std::move(flags));
  return config ? "(accepted)" : config.error().message;
}

TEST(ConfigTest, NothingGivenIsTheDefaultPreset) {
  const Config config = Load("").value();
  EXPECT_EQ(config.runtime.scheduling.preset, "yamanote");
  EXPECT_TRUE(config.origins.empty());
}

TEST(ConfigTest, FlagWinsOverFileAndFileOverPreset) {
  const std::string_view file =
      "[scheduling]\npreset = 'concord'\nslice = '7us'\nslots = 3\n";
  const Config from_file = Load(file).value();
  EXPECT_EQ(from_file.runtime.scheduling.preset, "concord");
  EXPECT_EQ(from_file.runtime.scheduling.slice, microseconds(7));
  EXPECT_EQ(from_file.runtime.scheduling.slots, 3u);

  const Config both = Load(file, {"--slice", "9us"}).value();
  EXPECT_EQ(both.runtime.scheduling.slice, microseconds(9));
  EXPECT_EQ(both.runtime.scheduling.slots, 3u);
  EXPECT_EQ(both.origins.at("scheduling.slice"), "--slice");
  EXPECT_EQ(both.origins.at("scheduling.slots"), "a.toml:4");
}

TEST(ConfigTest, SliceSaysWhetherItAdapts) {
  const auto slices = [](std::string_view toml,
                         std::vector<std::string> flags) {
    const Scheduling s =
        Load(toml, std::move(flags)).value().runtime.scheduling;
    return std::pair(s.slice.least, s.slice.most);
  };
  const auto us = [](int count) -> Duration { return microseconds(count); };
  EXPECT_EQ(slices("", {"--slice", "adaptive"}), std::pair(us(2), us(100)));
  EXPECT_EQ(slices("", {"--slice-max", "50us", "--slice", "adaptive"}),
            std::pair(us(2), us(50)));
  const std::string_view file = "[scheduling]\nslice = 'adaptive'\n";
  EXPECT_EQ(slices(file, {"--slice", "20us"}), std::pair(us(20), us(0)));
  EXPECT_EQ(slices(file, {"--slice-max", "fixed"}), std::pair(us(2), us(0)));
}

// What an error names as the remedy is accepted.
TEST(ConfigTest, ErrorsOfSlicesHaveRemediesThatWork) {
  EXPECT_THAT(ErrorOf("", {"--slice", "50us", "--slice-max", "20us"}),
              AllOf(HasSubstr("slice_max is 20us, but slice is 50us"),
                    HasSubstr("leave it out")));
  EXPECT_THAT(ErrorOf("", {"--preset", "ix", "--slice-max", "20us"}),
              HasSubstr("set slice, for example to 5us"));
  EXPECT_EQ(
      ErrorOf("", {"--preset", "ix", "--slice-max", "20us", "--slice", "5us"}),
      "(accepted)");
  EXPECT_EQ(ErrorOf("[scheduling]\nslice_max = '20us'\n",
                    {"--slice", "50us", "--slice-max", "fixed"}),
            "(accepted)");
}

TEST(ConfigTest, FilesPartsOverrideThePresetThatAFlagNames) {
  const Config config =
      Load("[scheduling]\nslice = '7us'\n", {"--preset", "shinjuku"}).value();
  EXPECT_EQ(config.runtime.scheduling.preset, "shinjuku");
  EXPECT_EQ(config.runtime.scheduling.slice, microseconds(7));
}

TEST(ConfigTest, EveryKeyHasAFlagOfItsOwn) {
  // `--cores` are CPUs for `serve`, and a number for `sim`.
  std::set<std::string> serve, simulate;
  for (const OptionSpec& option : Options()) {
    const bool simulated = IsSimulation(option.section);
    if (simulated || option.section == "scheduling") {
      EXPECT_TRUE(simulate.insert(option.flag).second)
          << option.flag << " is there twice";
    }
    if (!simulated) {
      EXPECT_TRUE(serve.insert(option.flag).second)
          << option.flag << " is there twice";
    }
    EXPECT_FALSE(option.help.empty()) << option.Name();
    EXPECT_FALSE(option.limits.empty()) << option.Name();
    EXPECT_NE(option.set, nullptr) << option.Name();
  }
}

TEST(ConfigTest, DefaultsAreInsideTheirOwnLimits) {
  Config config = Load("").value();
  for (const OptionSpec& option : Options()) {
    if (option.get == nullptr) continue;
    const std::string text = option.get(option, config);
    const Result<void> set = option.set(option, config, text);
    EXPECT_TRUE(set) << option.Name() << ": " << set.error().message;
  }
}

TEST(ConfigTest, UnknownKeyIsRefusedWithWhatWasMeant) {
  EXPECT_EQ(
      ErrorOf("[server]\ndrian_timeout = '1s'\n"),
      "a.toml:2: server.drian_timeout is no key; did you mean drain_timeout?");
  EXPECT_EQ(ErrorOf("[sever]\n"),
            "a.toml:1: [sever] is no section; did you mean [server]?");
  EXPECT_EQ(ErrorOf("listen = '[::]:1'\n"),
            "a.toml:1: listen is a key of [server]; write it below that line");
  EXPECT_EQ(ErrorOf("[runtime]\nslice = '5us'\n"),
            "a.toml:2: runtime.slice is no key; slice is one of [scheduling]");
}

TEST(ConfigTest, ValueOutsideItsLimitsNamesKeyValueLimitAndRemedy) {
  EXPECT_EQ(ErrorOf("[scheduling]\n\nslots = 99\n"),
            "a.toml:3: scheduling.slots = \"99\" is outside its "
            "limits 1 .. 16; write 16");
  EXPECT_EQ(ErrorOf("", {"--stack-bytes", "1KiB"}),
            "--stack-bytes: runtime.stack_bytes = \"1KiB\" is outside its "
            "limits 16KiB .. 64MiB; write 16KiB");
}

TEST(ConfigTest, WrongUnitsAndTypesAreRefused) {
  EXPECT_THAT(
      ErrorOf("[scheduling]\nslice = 5\n"),
      AllOf(HasSubstr("a.toml:2"), HasSubstr("scheduling.slice is a number"),
            HasSubstr("\"5us\"")));
  std::string deep = "[server]\n";
  for (int part = 0; part < 300; ++part) deep += "a.";
  EXPECT_THAT(ErrorOf(deep + "b = 1\n"),
              HasSubstr(":2: is not TOML: a key has more than 256 parts"));
  EXPECT_THAT(ErrorOf("[server]\nmax_request_bytes = '5us'\n"),
              AllOf(HasSubstr("server.max_request_bytes"),
                    HasSubstr("unknown unit \"us\"")));
  EXPECT_THAT(ErrorOf("[runtime]\npin = 'true'\n"),
              HasSubstr("without quotes"));
  EXPECT_THAT(ErrorOf("[runtime]\nmax_threads = 1.5\n"),
              HasSubstr("a whole number"));
  EXPECT_THAT(ErrorOf("[runtime]\nmax_threads = -1\n"), HasSubstr("negative"));
  EXPECT_THAT(ErrorOf("[server]\nprotocol = 'sctp'\n"),
              HasSubstr("none of tcp, udp, both"));
  EXPECT_THAT(
      ErrorOf("[server]\nlisten = 'localhost'\n"),
      AllOf(HasSubstr("a.toml:2: server.listen"), HasSubstr("localhost")));
  EXPECT_THAT(ErrorOf("[server]\nlisten = '127.0.0.1:70000'\n"),
              HasSubstr("65535"));
  EXPECT_THAT(ErrorOf("[scheduling\n"), HasSubstr("a.toml:1: is not TOML"));
}

TEST(ConfigTest, AllProblemsAreListedAtOnce) {
  EXPECT_THAT(ErrorOf("[scheduling]\nslots = 0\norder = 'ffio'\n"),
              AllOf(HasSubstr("a.toml:2"), HasSubstr("a.toml:3"),
                    HasSubstr("did you mean fifo?")));
}

TEST(ConfigTest, UnknownPresetListsTheOnesThereAre) {
  EXPECT_THAT(ErrorOf("", {"--preset", "shinjuk"}),
              AllOf(HasSubstr("--preset"), HasSubstr("zygos"),
                    HasSubstr("did you mean shinjuku?")));
}

TEST(ConfigTest, CoresMayBeAListAnArrayOrAuto) {
  EXPECT_THAT(Load("[runtime]\ncores = '2-3,0'\n").value().runtime.cpus,
              ElementsAre(2, 3, 0));
  EXPECT_THAT(Load("[runtime]\ncores = [1, 0]\n").value().runtime.cpus,
              ElementsAre(1, 0));
  EXPECT_THAT(Load("[runtime]\ncores = '1'\n", {"--cores", "auto"})
                  .value()
                  .runtime.cpus,
              testing::IsEmpty());
  EXPECT_THAT(
      ErrorOf("[runtime]\ncores = '0-1'\nworkers = 3\n"),
      AllOf(HasSubstr("runtime.workers = 3"), HasSubstr("names 2 CPUs")));
}

TEST(ConfigTest, ClassesComeFromTablesOrRepeatedFlags) {
  const Config config =
      Load(
          "[[scheduling.classes]]\nname = 'short'\nslo = '50us'\n"
          "[[scheduling.classes]]\nname = 'long'\nlimit = 10\n",
          {"--class", "short:limit=5", "--class", "huge:slo=1s,limit=1",
           "--class", "batch:background", "--order", "rr"})
          .value();
  ASSERT_EQ(config.classes.size(), 4u);
  EXPECT_EQ(config.classes[3].background, true);
  EXPECT_THAT(ErrorOf("", {"--class", "a:background=2"}),
              HasSubstr("neither true nor false"));
  EXPECT_THAT(ErrorOf("", {"--class", "a:background", "--order", "las"}),
              HasSubstr("order 'las' serves all classes"));
  EXPECT_EQ(config.classes[0].name, "short");
  EXPECT_EQ(config.classes[0].slo, microseconds(50));
  EXPECT_EQ(config.classes[0].limit, 5u);
  EXPECT_EQ(config.classes[1].limit, 10u);
  EXPECT_EQ(config.classes[2].name, "huge");
  EXPECT_THAT(
      ErrorOf("[[scheduling.classes]]\nname = 'a'\ndeadline = '1s'\n"),
      AllOf(HasSubstr("a.toml:3"),
            HasSubstr("name, slo, limit, background, budget and period")));
  EXPECT_THAT(ErrorOf("[[scheduling.classes]]\nslo = '1s'\n"),
              HasSubstr("no name"));
  EXPECT_THAT(ErrorOf("", {"--class", "a:limit=0"}),
              HasSubstr("1 .. 16777216"));
}

TEST(ConfigTest, AReservationHasBothPartsAndFitsACore) {
  const Config config =
      Load("[[scheduling.classes]]\nname = 'a'\nperiod = '10ms'\n",
           {"--class", "a:budget=2ms"})
          .value();
  EXPECT_EQ(config.classes[0].budget, microseconds(2000));
  EXPECT_EQ(config.classes[0].period, microseconds(10'000));
  EXPECT_THAT(ErrorOf("", {"--class", "a:budget=2ms"}),
              AllOf(HasSubstr("budget of 'a'"), HasSubstr("set the other"),
                    HasSubstr("--class")));
  EXPECT_THAT(ErrorOf("", {"--class", "a:budget=11ms,period=10ms"}),
              AllOf(HasSubstr("budget of 'a'"), HasSubstr("11000000 ns"),
                    HasSubstr("10000000 ns")));
  EXPECT_THAT(ErrorOf("", {"--class", "a:budget=1ms,budget=2ms,period=10ms"}),
              HasSubstr("two values of budget"));
  EXPECT_THAT(ErrorOf("", {"--class", "a:budget=1ms,period=2h"}),
              AllOf(HasSubstr("period 2h"), HasSubstr("1us .. 1h")));
}

// The file that --print-config writes is a configuration, and the same one.
TEST(ConfigTest, PrintedConfigurationReadsBackToItself) {
  const Config config =
      Load(
          "[scheduling]\npreset = 'shinjuku-mq'\nslice = '11us'\n"
          "[[scheduling.classes]]\nname = 'short \"one\"'\n"
          "slo = '50us'\nlimit = 7\nbackground = true\n"
          "budget = '2ms'\nperiod = '10ms'\n"
          "[runtime]\ncores = '0'\nspin = '3us'\n[kv]\nmemory_limit = '1GiB'\n",
          {"--listen", "[::1]:0", "--idle-timeout", "1500ms"})
          .value();
  const std::string printed = PrintConfig(config);
  const Config again = Load(printed).value();
  for (const OptionSpec& option : Options()) {
    if (option.get == nullptr) continue;
    EXPECT_EQ(option.get(option, again), option.get(option, config))
        << option.Name();
  }
  ASSERT_EQ(again.classes.size(), 1u);
  EXPECT_EQ(again.classes[0].name, "short \"one\"");
  EXPECT_EQ(again.classes[0].slo, microseconds(50));
  EXPECT_EQ(again.classes[0].limit, 7u);
  EXPECT_EQ(again.classes[0].background, true);
  EXPECT_EQ(again.classes[0].budget, microseconds(2000));
  EXPECT_EQ(again.classes[0].period, microseconds(10'000));
  EXPECT_THAT(printed, AllOf(HasSubstr("Set by --idle-timeout"),
                             HasSubstr("Set by a.toml:3"),
                             HasSubstr("idle_timeout = \"1500ms\"")));
}

TEST(ConfigTest, MissingFileIsNamed) {
  EXPECT_THAT(ReadToml("/nonexistent/a.toml").error().message,
              AllOf(HasSubstr("/nonexistent/a.toml"), HasSubstr("--config")));
}

}  // namespace
}  // namespace yamanote::tools
