// result_test.cc - the JSON comes back as it went out, and lies are refused.

#include "tools/load/result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/output/json.h"

namespace yamanote::load {
namespace {

LoadResult Example() {
  base::Histogram histogram;
  for (uint64_t us = 1; us <= 995; ++us) histogram.Record(us * 1000);
  histogram.RecordInfinite(5);

  PointResult point;
  point.offered_rps = 1000;
  point.achieved_rps = 995;
  point.valid = false;
  point.why_invalid = "an example";
  point.unsettled = "another";
  point.sent = 1000;
  point.lost = 5;
  point.seeds = {1, 2};
  point.latency_us = ReadFigures(histogram, 1000);
  point.classes.push_back({.name = "get", .share = 1, .floor_us = 9.5});
  point.runs.push_back({.seed = 1, .achieved_rps = 990});
  LoadResult result;
  result.label = "shinjuku";
  result.target = "127.0.0.1:9000";
  result.points.push_back(point);
  result.search = SearchResult{
      .objective = "p99-slowdown<=10", .best_rps = 7, .steps = {{.rps = 3}}};
  return result;
}

TEST(ResultTest, JsonRoundTripKeepsEveryField) {
  const std::string text = tools::JsonText(ToJson(Example()));
  const Result<LoadResult> back = ParseLoadResult(text);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(tools::JsonText(ToJson(*back)), text);
  ASSERT_EQ(back->points.size(), 1u);
  EXPECT_EQ(back->points[0].latency_us.samples, 1000u);
  EXPECT_NEAR(back->points[0].latency_us.p50, 500, 5);
  EXPECT_EQ(back->points[0].unsettled, "another");
  EXPECT_EQ(back->search->steps.size(), 1u);
}

// 5 of 1000 lost: p99 is finite, p99.9 is infinite; no slowdown was measured.
TEST(ResultTest, InfiniteAndMissingFiguresSurviveJson) {
  const auto back = ParseLoadResult(tools::JsonText(ToJson(Example())));
  ASSERT_TRUE(back);
  EXPECT_TRUE(std::isfinite(back->points[0].latency_us.p99));
  EXPECT_TRUE(std::isinf(back->points[0].latency_us.p999));
  EXPECT_TRUE(std::isnan(back->points[0].slowdown.p99));
}

TEST(ResultTest, WrongJsonIsRefusedByPath) {
  auto json = ToJson(Example());
  json["points"][0]["latency_us"]["p99"] = "many";
  auto back = ParseLoadResult(tools::JsonText(json));
  ASSERT_FALSE(back);
  EXPECT_THAT(back.error().message,
              testing::HasSubstr("points[0].latency_us.p99 is \"many\""));

  json = ToJson(Example());
  json["points"][0].erase("lost");
  back = ParseLoadResult(tools::JsonText(json));
  ASSERT_FALSE(back);
  EXPECT_THAT(back.error().message,
              testing::HasSubstr("points[0].lost is missing"));

  EXPECT_FALSE(ParseLoadResult("{"));
  EXPECT_FALSE(ParseLoadResult("[]"));
  back = ParseLoadResult(R"({"schema":"other/1"})");
  ASSERT_FALSE(back);
  EXPECT_THAT(back.error().message, testing::HasSubstr("\"other/1\""));
}

}  // namespace
}  // namespace yamanote::load
