// scheduling_test.cc - presets are possible, and impossible combinations say why.

#include "yamanote/scheduling.h"

#include <gmock/gmock.h>

namespace yamanote {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using namespace std::chrono_literals;

TEST(SchedulingTest, EveryPresetIsPossibleOnEveryNumberOfCores) {
  for (const PresetInfo& preset : Presets()) {
    EXPECT_EQ(preset.name, preset.scheduling.preset);
    EXPECT_FALSE(preset.summary.empty());
    for (const unsigned cores : {1u, 2u, 3u, 4u, 64u, kMaxCores}) {
      const Result<void> valid = Validate(preset.scheduling, cores);
      EXPECT_TRUE(valid.has_value())
          << preset.name << ": " << valid.error().message;
    }
    const Result<Scheduling> found = FindPreset(preset.name);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->preset, preset.name);
  }
  EXPECT_EQ(Presets().back().name, kDefaultPreset);
}

// A shared queue below: a core that only dispatched would be too much of them.
TEST(SchedulingTest, AnAutomaticDispatcherIsDedicatedFromFourCoresOn) {
  const Scheduling central{.placement = PlacementKind::kCentral};
  EXPECT_FALSE(HasDedicatedDispatcher(central, 1));
  EXPECT_FALSE(HasDedicatedDispatcher(central, 3));
  EXPECT_TRUE(HasDedicatedDispatcher(central, 4));
  const Scheduling dedicated{.dispatcher = DispatcherKind::kDedicated};
  EXPECT_TRUE(HasDedicatedDispatcher(dedicated, 2));
  const Scheduling shared{.dispatcher = DispatcherKind::kShared};
  EXPECT_FALSE(HasDedicatedDispatcher(shared, 64));
  EXPECT_FALSE(HasDedicatedDispatcher(DefaultScheduling(), 64));
}

TEST(SchedulingTest, UnknownPresetNamesTheOnesThereAre) {
  const Result<Scheduling> found = FindPreset("linux");
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(
      found.error().message,
      AllOf(HasSubstr("linux"), HasSubstr("shinjuku"), HasSubstr("yamanote")));
}

struct Impossible {
  std::string key;    // What the message must name,
  std::string value;  // its value
  std::string remedy;
  Scheduling scheduling;
  unsigned cores = 4;
};

TEST(SchedulingTest, BackgroundNeedsAnOrderThatKnowsOfIt) {
  Scheduling scheduling;
  scheduling.classes = {{.name = "a"}, {.name = "b", .background = true}};
  EXPECT_TRUE(Validate(scheduling, 2));
  scheduling.order = "las";
  const Result<void> valid = Validate(scheduling, 2);
  ASSERT_FALSE(valid);
  EXPECT_EQ(valid.error().message,
            "classes[1].background of 'b' is true, but order 'las' serves all "
            "classes; set order to one of fifo, rr, slo-ratio, or background "
            "to false");
}

TEST(SchedulingTest, ImpossibleCombinationsNameKeyValueAndRemedy) {
  const Impossible cases[] = {
      {"order", "sjf", "slo-ratio", {.order = "sjf"}},
      {"slice", "0", "more than 0", {.slice = 0us}},
      {"slice", "-5", "more than 0", {.slice = Duration(-5)}},
      {"slots", "0", "16", {.slots = 0}},
      {"slots", "17", "16", {.slots = 17}},
      {"slots",
       "2",
       "central",
       {.placement = PlacementKind::kStealing, .slots = 2}},
      {"dispatcher",
       "dedicated",
       "add a core",
       {.dispatcher = DispatcherKind::kDedicated},
       1},
      {"dispatcher",
       "two-level",
       "central",
       {.placement = PlacementKind::kTwoLevel,
        .dispatcher = DispatcherKind::kDedicated}},
      {"replies", "home", "direct", {.replies = ReplyPath::kHome}},
      {"steal",
       "partitioned",
       "false",
       {.placement = PlacementKind::kPartitioned, .steal = true}},
      {"slice_max is 20us",
       "slice is 50us",
       "raise it, or leave it out",
       {.slice = {50us, 20us}}},
      {"slice_max is 11000000us", "10s", "lower it", {.slice = {5us, 11s}}},
      {"slice_max is none", "10s", "lower it", {.slice = {5us, kNoPreemption}}},
      {"slice_max is 12500ns",
       "slice is none",
       "set slice",
       {.slice = {kNoPreemption, 12'500ns}}},
      {"cores", "0", "256", {}, 0},
      {"cores", "257", "256", {}, 257},
      {"classes", "0 entries", "default class", {.classes = {}}},
      {"classes[1].name",
       "a",
       "differ",
       {.classes = {{.name = "a"}, {.name = "a"}}}},
      {"classes[0].name", "empty", "give", {.classes = {{.name = ""}}}},
      {"classes[0].slo", "0 ns", "more than 0", {.classes = {{.slo = 0ns}}}},
      {"classes[0].limit", "0", "at least 1", {.classes = {{.limit = 0}}}},
      {"classes[0].budget",
       "5000 ns",
       "set the other",
       {.classes = {{.budget = 5us}}}},
      {"period", "5000 ns", "set the other", {.classes = {{.period = 5us}}}},
      {"classes[0].budget",
       "5001 ns",
       "lower it",
       {.classes = {{.budget = 5001ns, .period = 5us}}}},
      {"classes[0].budget",
       "-1 ns",
       "the limits are 1 ns",
       {.classes = {{.budget = -1ns, .period = 5us}}}},
      {"classes[0].period",
       "3600000000001 ns",
       "1h",
       {.classes = {{.budget = 5us, .period = 1h + 1ns}}}},
  };
  for (const Impossible& c : cases) {
    const Result<void> valid = Validate(c.scheduling, c.cores);
    ASSERT_FALSE(valid.has_value()) << c.key << " = " << c.value;
    EXPECT_EQ(valid.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(
        valid.error().message,
        AllOf(HasSubstr(c.key), HasSubstr(c.value), HasSubstr(c.remedy)));
  }
}

}  // namespace
}  // namespace yamanote
