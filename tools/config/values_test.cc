// values_test.cc - what a configuration's words mean, and what is refused.

#include "tools/config/values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace yamanote::tools {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(ParseDurationTest, ReadsNumberAndUnit) {
  EXPECT_EQ(*ParseDuration("5us"), microseconds(5));
  EXPECT_EQ(*ParseDuration("1.5ms"), microseconds(1500));
  EXPECT_EQ(*ParseDuration("2 min"), seconds(120));
  EXPECT_EQ(*ParseDuration("0ns"), Duration(0));
  // The largest whole number of nanoseconds there is.
  EXPECT_EQ(*ParseDuration("9223372036854775807ns"), Duration::max());
}

TEST(ParseDurationTest, RefusesWhatCouldMeanSomethingElse) {
  EXPECT_THAT(ParseDuration("5").error().message, HasSubstr("has no unit"));
  EXPECT_THAT(ParseDuration("5m").error().message,
              HasSubstr("unknown unit \"m\""));
  EXPECT_THAT(ParseDuration("5US").error().message,
              HasSubstr("unknown unit \"US\""));
  EXPECT_THAT(ParseDuration("-5us").error().message, HasSubstr("negative"));
  EXPECT_THAT(ParseDuration("").error().message,
              HasSubstr("is not a duration"));
  EXPECT_THAT(ParseDuration("us").error().message,
              HasSubstr("is not a duration"));
  EXPECT_THAT(ParseDuration("inf").error().message,
              HasSubstr("is not a duration"));
  EXPECT_THAT(ParseDuration("5us ").error().message, HasSubstr("unknown unit"));
  EXPECT_THAT(ParseDuration("9223372036854775808ns").error().message,
              HasSubstr("too large"));
  EXPECT_THAT(ParseDuration("9000000.5h").error().message,
              HasSubstr("too large"));
}

TEST(ParseBytesTest, TellsBinaryFromDecimal) {
  EXPECT_EQ(*ParseBytes("64KiB"), 65536u);
  EXPECT_EQ(*ParseBytes("64kB"), 64000u);
  EXPECT_EQ(*ParseBytes("1.5GiB"), 1610612736u);
  EXPECT_THAT(ParseBytes("64").error().message, HasSubstr("has no unit"));
  EXPECT_THAT(ParseBytes("64K").error().message,
              HasSubstr("unknown unit \"K\""));
}

TEST(ParseCountTest, NeedsNoUnit) {
  EXPECT_EQ(*ParseCount("4096"), 4096u);
  EXPECT_EQ(*ParseCount("64Ki"), 65536u);
  EXPECT_EQ(*ParseCount("1M"), 1000000u);
  EXPECT_THAT(ParseCount("many").error().message, HasSubstr("is not a count"));
}

TEST(ParseCpuListTest, KeepsTheOrderWritten) {
  EXPECT_THAT(*ParseCpuList("6,0-2"), ElementsAre(6, 0, 1, 2));
  EXPECT_THAT(*ParseCpuList("3"), ElementsAre(3));
}

TEST(ParseCpuListTest, RefusesWhatIsNoList) {
  EXPECT_THAT(ParseCpuList("").error().message, HasSubstr("is not a list"));
  EXPECT_THAT(ParseCpuList("1,").error().message, HasSubstr("is not a list"));
  EXPECT_THAT(ParseCpuList("3-1").error().message, HasSubstr("write 1-3"));
  EXPECT_THAT(ParseCpuList("0-2,1").error().message, HasSubstr("CPU 1 twice"));
  EXPECT_THAT(ParseCpuList("0;1").error().message, HasSubstr("\";1\""));
  EXPECT_THAT(ParseCpuList("99999").error().message, HasSubstr("0 .. 8191"));
}

TEST(FormatTest, UsesTheLargestUnitWithoutFraction) {
  EXPECT_EQ(FormatDuration(microseconds(1500)), "1500us");
  EXPECT_EQ(FormatDuration(milliseconds(2)), "2ms");
  EXPECT_EQ(FormatDuration(Duration(0)), "0ns");
  EXPECT_EQ(FormatBytes(65536), "64KiB");
  EXPECT_EQ(FormatBytes(1000), "1kB");
  EXPECT_EQ(FormatCpuList(std::vector<int>{6, 0, 1, 2}), "6,0-2");
}

TEST(ClosestNameTest, FindsTheTypingMistakeAndNothingFarFetched) {
  constexpr std::string_view kNames[] = {"drain_timeout", "idle_timeout",
                                         "listen"};
  EXPECT_EQ(ClosestName("drian_timout", kNames), "drain_timeout");
  EXPECT_EQ(ClosestName("lsten", kNames), "listen");
  EXPECT_EQ(ClosestName("memory", kNames), "");
}

}  // namespace
}  // namespace yamanote::tools
