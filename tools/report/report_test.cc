// report_test.cc - what goes into the page, and what is refused.

#include "tools/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "tools/output/json.h"

namespace yamanote::report {
namespace {

using testing::HasSubstr;
using testing::Not;

load::Figures FiguresOf(double p99) {
  return {.samples = 1000,
          .p50 = p99 / 4,
          .p90 = p99 / 2,
          .p99 = p99,
          .p999 = 2 * p99,
          .max = 3 * p99,
          .mean = p99 / 3};
}

load::LoadResult ResultOf(const std::string& label) {
  load::PointResult point;
  point.offered_rps = 1000;
  point.achieved_rps = 990;
  point.latency_us = FiguresOf(100);
  for (const char* name : {"get", "mget500"}) {
    load::ClassResult found;
    found.name = name;
    found.latency_us = FiguresOf(80);
    found.slowdown = FiguresOf(8);
    point.classes.push_back(found);
  }
  load::LoadResult result;
  result.version = "9.9";
  result.started = "2026-01-02T03:04:05Z";
  result.label = label;
  result.application = "kv";
  result.protocol = "tcp";
  result.points.push_back(point);
  return result;
}

// The figures as the page gets them.
nlohmann::json DataOf(const std::string& html) {
  const std::string begin = "id=\"data\"";
  const size_t start = html.find('>', html.find(begin)) + 1;
  return tools::ParseJson(
      html.substr(start, html.find("</script>", start) - start));
}

std::string RenderOrDie(const Report& report) {
  const Result<std::string> html = Render(report);
  EXPECT_TRUE(html) << html.error().message;
  return html ? *html : "";
}

TEST(ReportTest, EachResultIsACurvePerClassAndTheWholeComesLast) {
  const nlohmann::json data =
      DataOf(RenderOrDie({.results = {ResultOf("ix"), ResultOf("zygos")}}));
  EXPECT_EQ(data["classes"], nlohmann::json({"get", "mget500", "overall"}));
  EXPECT_EQ(data["overall"], 2);
  ASSERT_EQ(data["points"].size(), 2u);
  EXPECT_EQ(data["points"][1]["scheduler"], 1);
  EXPECT_EQ(data["points"][0]["classes"][0]["all"]["latency"]["p99"], 80);
  EXPECT_EQ(data["points"][0]["classes"][2]["all"]["latency"]["p99"], 100);
  // No slowdown of the whole was measured: absent, not zero.
  EXPECT_TRUE(
      data["points"][0]["classes"][2]["all"]["slowdown"]["p99"].is_null());
}

TEST(ReportTest, AClassThatIsTheWholeIsShownOnce) {
  load::LoadResult result = ResultOf("ix");
  result.points[0].classes.pop_back();
  const nlohmann::json data = DataOf(RenderOrDie({.results = {result}}));
  EXPECT_EQ(data["classes"], nlohmann::json({"get"}));
  EXPECT_EQ(data["overall"], -1);
}

TEST(ReportTest, LostRequestsMakeAPercentileInfiniteNotAbsent) {
  load::LoadResult result = ResultOf("ix");
  result.points[0].classes[0].latency_us.p999 =
      std::numeric_limits<double>::infinity();
  const nlohmann::json data = DataOf(RenderOrDie({.results = {result}}));
  EXPECT_EQ(data["points"][0]["classes"][0]["all"]["latency"]["p999"], "inf");
}

TEST(ReportTest, HostileNamesStayText) {
  const std::string hostile =
      "</script><script>alert(1)</script><!-- \"'& @NONCE@ \xff";
  load::LoadResult result = ResultOf(hostile);
  result.points[0].classes[0].name = hostile;
  const std::string html =
      RenderOrDie({.title = hostile, .results = {result}, .notes = {hostile}});
  EXPECT_THAT(html, Not(HasSubstr("<script>alert")));
  // Invalid UTF-8 became the replacement character; the rest is unchanged.
  const std::string kept =
      "</script><script>alert(1)</script><!-- \"'& @NONCE@ \xef\xbf\xbd";
  const nlohmann::json data = DataOf(html);
  EXPECT_EQ(data["schedulers"][0]["name"], kept);
  EXPECT_EQ(data["title"], kept);
  EXPECT_THAT(html, HasSubstr("<title>&lt;/script&gt;&lt;script&gt;alert(1)"));
}

TEST(ReportTest, ThePageAsksForNothingOutside) {
  const std::string html = RenderOrDie({.results = {ResultOf("ix")}});
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  for (const char* outside : {"src=\"http", "href=\"http", "url(http",
                              "@import", "@CSS@", "@SCRIPT@"}) {
    EXPECT_THAT(html, Not(HasSubstr(outside)));
  }
}

TEST(ReportTest, PointsThatAreNotCredibleAreMarkedAndNoted) {
  load::LoadResult result = ResultOf("ix");
  result.points[0].valid = false;
  result.points[0].why_invalid = "2% were late";
  result.points[0].gaps = {.threshold_us = 50,
                           .count = 3,
                           .total_us = 4200,
                           .max_us = 2000,
                           .tagged = 17};
  const nlohmann::json data =
      DataOf(RenderOrDie({.results = {result}, .notes = {"first"}}));
  EXPECT_EQ(data["points"][0]["invalid"], "2% were late");
  ASSERT_EQ(data["notes"].size(), 3u);
  EXPECT_EQ(data["notes"][0], "first");
  EXPECT_THAT(data["notes"][1].get<std::string>(),
              HasSubstr("1 of 1 points are not credible"));
  EXPECT_THAT(data["notes"][2].get<std::string>(), HasSubstr("17 samples"));
}

TEST(ReportTest, PointsWhoseRunsDisagreeAreMarkedAndNoted) {
  load::LoadResult result = ResultOf("ix");
  result.points.resize(2, result.points[0]);
  result.points[1].unsettled = "its runs disagree";
  const nlohmann::json data = DataOf(RenderOrDie({.results = {result}}));
  EXPECT_EQ(data["points"][0]["unsettled"], "");
  EXPECT_EQ(data["points"][1]["unsettled"], "its runs disagree");
  EXPECT_EQ(data["points"][1]["invalid"], "");
  EXPECT_THAT(data["notes"].back().get<std::string>(),
              HasSubstr("The runs of 1 of 2 points disagree"));
}

TEST(ReportTest, AMachineThatWasTooBusyIsSaidToBeSo) {
  load::LoadResult result = ResultOf("ix");
  result.points[0].valid = false;
  result.points[0].valid_undisturbed = true;
  result.points[0].gaps.count = 1;
  result.points[0].gaps.tagged = 100;  // Of 1000.
  EXPECT_TRUE(PrefersUndisturbed({.results = {result}}));
  EXPECT_EQ(DataOf(RenderOrDie({.results = {result}}))["samples"],
            "undisturbed");
  result.points[0].gaps.tagged = 101;
  const nlohmann::json data = DataOf(RenderOrDie({.results = {result}}));
  EXPECT_EQ(data["samples"], "all");
  EXPECT_THAT(data["notes"].back().get<std::string>(), HasSubstr("too busy"));
}

// The more load, the more samples meet a gap, on whichever machine.
TEST(ReportTest, BusyIsWhatTheLowestLoadMet) {
  load::LoadResult result = ResultOf("ix");
  result.points.resize(3, result.points[0]);
  result.points[0].offered_rps = 2000;
  result.points[1].offered_rps = 1000;
  result.points[2].offered_rps = 3000;
  result.points[0].gaps.tagged = result.points[2].gaps.tagged = 1000;
  EXPECT_EQ(TaggedShare({.results = {result}}), 0);
  result.points[1].gaps.tagged = 500;  // Of 1000.
  EXPECT_EQ(TaggedShare({.results = {result}}), 0.5);
  load::LoadResult quiet = ResultOf("zygos");
  EXPECT_EQ(TaggedShare({.results = {quiet, result, quiet}}), 0);
  EXPECT_EQ(TaggedShare({.results = {load::LoadResult{}}}), 0);
}

TEST(ReportTest, UndisturbedIsPreferredOnlyIfItIsNearlyAllOfMostPoints) {
  load::LoadResult result = ResultOf("ix");
  result.points[0].valid_undisturbed = true;
  result.points.resize(3, result.points[0]);
  result.points[0].valid = false;
  result.points[2].gaps.tagged = 900;  // Of 1000.
  EXPECT_TRUE(PrefersUndisturbed({.results = {result}}));
  result.points[1].gaps.tagged = 101;
  EXPECT_FALSE(PrefersUndisturbed({.results = {result}}));
}

TEST(ReportTest, AGeneratorAtItsLimitIsNoted) {
  load::LoadResult result = ResultOf("ix");
  result.points.resize(3, result.points[0]);
  for (size_t i = 0; i < 3; ++i) {
    result.points[i].offered_rps = 1000.0 * static_cast<double>(i + 1);
    result.points[i].generator_busy = 0.9 + 0.05 * static_cast<double>(i);
  }
  EXPECT_EQ(GeneratorBusyFrom({.results = {result}}), 2000);
  const nlohmann::json data = DataOf(RenderOrDie({.results = {result}}));
  EXPECT_THAT(data["notes"].back().get<std::string>(),
              HasSubstr("From 2000 requests per second on"));
  result.points[1].generator_busy = result.points[2].generator_busy = 0.5;
  EXPECT_EQ(GeneratorBusyFrom({.results = {result}}), 0);
}

TEST(ReportTest, EqualLabelsAreToldApart) {
  const nlohmann::json data =
      DataOf(RenderOrDie({.results = {ResultOf("ix"), ResultOf("ix")}}));
  EXPECT_EQ(data["schedulers"][0]["name"], "ix");
  EXPECT_EQ(data["schedulers"][1]["name"], "ix (2)");
}

TEST(ReportTest, ImpossibleReportsAreRefused) {
  EXPECT_FALSE(Render({.results = {}}));
  Report report{.results = {ResultOf("ix")}};
  report.objective = Objective{.request_class = "put", .limit = 10};
  const Result<std::string> html = Render(report);
  ASSERT_FALSE(html);
  EXPECT_THAT(html.error().message,
              HasSubstr("'put'; the results have get, mget500"));
}

TEST(ReportTest, TheReportsJsonComesBackWhole) {
  Report report{.title = "T",
                .lead = "L",
                .results = {ResultOf("ix")},
                .schedulers = {{"ix", "summary", {{"order", "fifo"}}}},
                .machine = {{"Processor", "P"}},
                .notes = {"n"},
                .objective = Objective{"a:b", "p999", "latency", 123.456}};
  const Result<Report> back =
      FromJson(tools::ParseJson(tools::JsonText(ToJson(report))));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(tools::JsonText(ToJson(*back)), tools::JsonText(ToJson(report)));
}

TEST(ReportTest, WrongJsonIsRefusedByPath) {
  const Report report{.results = {ResultOf("ix")},
                      .schedulers = {{"ix", "", {{"order", "fifo"}}}}};
  const auto refusal = [&](const char* pointer, const nlohmann::json& value) {
    nlohmann::json json = tools::ParseJson(tools::JsonText(ToJson(report)));
    json[nlohmann::json::json_pointer(pointer)] = value;
    const Result<Report> back = FromJson(json);
    return back ? std::string("accepted") : back.error().message;
  };
  EXPECT_THAT(refusal("/schema", "other/1"),
              HasSubstr("schema is \"other/1\""));
  EXPECT_THAT(refusal("/schedulers/0/config/0", 7),
              HasSubstr("schedulers[0].config[0] is 7"));
  EXPECT_THAT(refusal("/notes", "x"),
              HasSubstr("notes is \"x\"; expected a list"));
  EXPECT_THAT(refusal("/objective", "p98-slowdown<=1"),
              HasSubstr("not p50, p99 or p99.9"));
  EXPECT_THAT(refusal("/results/0/points/0/lost", "x"),
              HasSubstr("results[0]: field points[0].lost is \"x\""));
  EXPECT_FALSE(FromJson(nlohmann::json::array()));
}

TEST(ReportTest, ObjectivesAreReadWithTheirUnits) {
  const Result<Objective> slowdown = ParseObjective("get:p99-slowdown<=10");
  ASSERT_TRUE(slowdown);
  EXPECT_EQ(slowdown->request_class, "get");
  EXPECT_EQ(slowdown->limit, 10);
  const Result<Objective> latency = ParseObjective("p99.9-latency<=1.5ms");
  ASSERT_TRUE(latency);
  EXPECT_EQ(latency->percentile, "p999");
  EXPECT_EQ(latency->limit, 1500);
  for (const char* wrong :
       {"", "p99", "p99-slowdown", "p99-slowdown<=", "p99-slowdown<=0",
        "p99-slowdown<=-1", "p99-slowdown<=nan", "p99-slowdown<=10us",
        "p99-latency<=10", "p99-delay<=1us"}) {
    EXPECT_FALSE(ParseObjective(wrong)) << wrong;
  }
}

TEST(ReportTest, WritingNamesThePathThatFailedAndLeavesNothing) {
  const auto missing = std::filesystem::temp_directory_path() /
                       "yamanote-no-such-directory" / "r.html";
  const Result<void> written =
      Write({.results = {ResultOf("ix")}}, "--html", missing.string());
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message, HasSubstr("--html is"));
  EXPECT_THAT(written.error().message, HasSubstr(missing.string()));

  const auto there = std::filesystem::temp_directory_path() /
                     ("yamanote-report-" + std::to_string(getpid()));
  std::filesystem::create_directory(there);
  ASSERT_TRUE(Write({.results = {ResultOf("ix")}}, "--html",
                    (there / "r.html").string()));
  EXPECT_TRUE(std::filesystem::exists(there / "r.html"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(there), {}), 1);
  std::filesystem::remove_all(there);
}

}  // namespace
}  // namespace yamanote::report
