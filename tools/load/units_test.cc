// units_test.cc - what is read and what is refused, with the words for it.

#include "tools/load/units.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace yamanote::load {
namespace {

using testing::HasSubstr;

TEST(UnitsTest, TimesNeedTheirUnit) {
  EXPECT_EQ(ParseTime("10us", "x").value(), std::chrono::microseconds(10));
  EXPECT_EQ(ParseTime("0.5us", "x").value(), Duration(500));
  EXPECT_EQ(ParseTime("500ns", "x").value(), Duration(500));
  EXPECT_EQ(ParseTime("1.5ms", "x").value(), Duration(1'500'000));
  EXPECT_EQ(ParseTime("4s", "x").value(), std::chrono::seconds(4));
  for (const char* bad :
       {"", "10", "us", "10 us", "-1us", "5s", "1e3us", "nanus", "infs",
        "10usx", "0x1us", "99999999999999999999999999s"}) {
    const auto time = ParseTime(bad, "--service fixed: time");
    ASSERT_FALSE(time) << bad;
    EXPECT_THAT(time.error().message, HasSubstr("--service fixed: time is '"));
    EXPECT_THAT(time.error().message, HasSubstr("for example 10us"));
  }
}

TEST(UnitsTest, RatesAndSharesHaveBounds) {
  EXPECT_EQ(ParseRate("20k", "x").value(), 20'000);
  EXPECT_EQ(ParseRate("1.5M", "x").value(), 1.5e6);
  EXPECT_EQ(ParseRate("950", "x").value(), 950);
  for (const char* bad :
       {"", "0", "k", "-5", "101M", "10K", "10k5", "nan", "inf"}) {
    EXPECT_FALSE(ParseRate(bad, "x")) << bad;
  }
  EXPECT_DOUBLE_EQ(ParseShare("99.5%", "x").value(), 0.995);
  for (const char* bad : {"", "%", "0%", "100.1%", "50", "-5%", "nan%"}) {
    EXPECT_FALSE(ParseShare(bad, "x")) << bad;
  }
}

TEST(UnitsTest, LongInputIsQuotedInPart) {
  const auto rate = ParseRate(std::string(5000, 'x'), "--rate");
  ASSERT_FALSE(rate);
  EXPECT_LT(rate.error().message.size(), 200u);
}

TEST(UnitsTest, FormatsWhatItReads) {
  for (const char* text : {"500ns", "10us", "1.5ms", "2s", "0ns"}) {
    EXPECT_EQ(FormatTime(ParseTime(text, "x").value()), text);
  }
  EXPECT_EQ(FormatRate(950), "950");
  EXPECT_EQ(FormatRate(20'000), "20k");
  EXPECT_EQ(FormatRate(1.25e6), "1.25M");
}

}  // namespace
}  // namespace yamanote::load
