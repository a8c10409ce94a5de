// layout_test.cc - help is wrapped and says limits and defaults.

#include "tools/help/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/command.h"

namespace yamanote::tools {
namespace {

using testing::HasSubstr;

TEST(HelpLayoutTest, WrapBreaksBetweenWordsAndIndents) {
  EXPECT_EQ(Wrap("one two three", 7), "one two\nthree");
  EXPECT_EQ(Wrap("one two three", 9, 2, 2), "one two\n  three");
  EXPECT_EQ(Wrap("a muchtoolong b", 5), "a\nmuchtoolong\nb");
  EXPECT_EQ(Wrap("", 5), "");
  // Two bytes, one column.
  EXPECT_EQ(Wrap("µµ µµ", 5), "µµ µµ");
}

TEST(HelpLayoutTest, ExamplesStayAsTheyAre) {
  EXPECT_EQ(WrapParagraphs("one\ntwo three\nExamples:\n  a b c d e\n\nend", 9),
            "one two\nthree\nExamples:\n  a b c d e\n\nend\n");
}

TEST(HelpLayoutTest, AFlagShowsUnitLimitsAndDefault) {
  CLI::App app("what it does", "program");
  app.formatter(std::make_shared<HelpLayout>(60));
  double duration = 5;
  std::string protocol;
  app.add_option("--duration", duration, "How long it is measured")
      ->type_name("SECONDS")
      ->check(Within(0.01, 3600.0))
      ->capture_default_str();
  app.add_option("--protocol", protocol, "Transport")
      ->type_name("NAME")
      ->check(OneOf({"tcp", "udp"}))
      ->required();
  const std::string help = app.help();
  EXPECT_THAT(
      help,
      HasSubstr("  --duration SECONDS        How long it is measured\n"
                "                            [0.01 .. 3600; default 5]\n"));
  EXPECT_THAT(
      help,
      HasSubstr(
          "  --protocol NAME           Transport [tcp, udp; required]\n"));
}

TEST(HelpLayoutTest, WithinRefusesWithValueAndLimits) {
  const CLI::Validator whole = Within(1u, 64u);
  EXPECT_EQ(whole(std::string("64")), "");
  EXPECT_EQ(whole(std::string("0")),
            "'0' is no whole number within the limits 1 .. 64; write "
            "one that is");
  for (const std::string wrong :
       {"", "65", "-1", "1.5", "x", "1x", " 1", "99999999999999999999"}) {
    EXPECT_NE(whole(wrong), "") << wrong;
  }
  const CLI::Validator fraction = Within(0.01, 3600.0);
  EXPECT_EQ(fraction(std::string("0.5")), "");
  for (const std::string wrong :
       {"0", "3601", "nan", "inf", "1e3", "0x1p3", "5s"}) {
    EXPECT_NE(fraction(wrong), "") << wrong;
  }
}

}  // namespace
}  // namespace yamanote::tools
