// json_test.cc - documents keep what they say on their way out and back.

#include "tools/output/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace yamanote::tools {
namespace {

TEST(JsonTest, OrderedMembersStayInOrder) {
  const std::string text = R"({"z":1,"a":[true,null,2.5]})";
  EXPECT_EQ(JsonText(ParseOrderedJson(text)), text);
  EXPECT_EQ(JsonText(ParseJson(text)), R"({"a":[true,null,2.5],"z":1})");
}

TEST(JsonTest, IndentsIfAsked) {
  const nlohmann::ordered_json document = {{"a", 1}};
  EXPECT_EQ(JsonText(document), R"({"a":1})");
  EXPECT_EQ(JsonText(document, 2), "{\n  \"a\": 1\n}");
}

// A path on the command line may hold any byte; nobody loses a result for it.
TEST(JsonTest, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(JsonText(nlohmann::json("a\xff")), "\"a\uFFFD\"");
  EXPECT_EQ(JsonText(nlohmann::ordered_json("\xc3(")), "\"\uFFFD(\"");
}

TEST(JsonTest, SaysWhatIsNotJson) {
  EXPECT_TRUE(ParseJson("{").is_discarded());
  EXPECT_TRUE(ParseOrderedJson("").is_discarded());
  EXPECT_FALSE(ParseJson("null").is_discarded());
}

TEST(JsonTest, FiguresThatJsonLacks) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(JsonText(JsonFigure(2.5)), "2.5");
  EXPECT_EQ(JsonText(JsonFigure(kInfinity)), "\"inf\"");
  EXPECT_EQ(JsonText(JsonFigure(std::nan(""))), "null");
}

}  // namespace
}  // namespace yamanote::tools
