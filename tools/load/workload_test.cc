// workload_test.cc - distributions against their theory, and refused ones.

#include "tools/load/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace yamanote::load {
namespace {

using testing::HasSubstr;

struct Moments {
  double mean = 0;
  double square = 0;
};

// Draws requests as a schedule does.
Moments Draw(const char* text, int draws = 400'000) {
  const auto workload = Workload::Parse(Application::kSpin, text);
  EXPECT_TRUE(workload) << workload.error().message;
  base::Random classes(3, 1), services(3, 2);
  Moments out;
  for (int i = 0; i < draws; ++i) {
    const double nanos =
        workload->DrawService(workload->DrawClass(classes), services);
    out.mean += nanos / draws;
    out.square += nanos * nanos / draws;
  }
  // The mean that is announced is the mean that is drawn.
  EXPECT_NEAR(out.mean / workload->MeanServiceNanos(), 1, 0.03) << text;
  return out;
}

TEST(WorkloadTest, MomentsMatchTheory) {
  EXPECT_DOUBLE_EQ(Draw("fixed:10us", 1000).mean, 10'000);

  // E[S^2] = 2 mean^2.
  const Moments exponential = Draw("exp:10us");
  EXPECT_NEAR(exponential.mean, 10'000, 100);
  EXPECT_NEAR(exponential.square, 2e8, 4e6);

  // 0.995 * 5 us + 0.005 * 500 us = 7.475 us.
  EXPECT_NEAR(Draw("bimodal:99.5%:5us,0.5%:500us").mean, 7475, 100);
  EXPECT_NEAR(Draw("trimodal:50%:1us,30%:10us,20%:100us").mean, 23'500, 250);

  // E[S^2] = mean^2 exp(sigma^2) with sigma 0.5: 1.284 mean^2.
  const Moments lognormal = Draw("lognormal:mean=10us,sigma=0.5");
  EXPECT_NEAR(lognormal.mean, 10'000, 100);
  EXPECT_NEAR(lognormal.square, 1.284e8, 3e6);

  // alpha / (alpha - 1) * min = 1.5 us; the same asked for by its mean.
  EXPECT_NEAR(Draw("pareto:alpha=3,min=1us").mean, 1500, 20);
  EXPECT_NEAR(Draw("pareto:alpha=3,mean=1.5us").mean, 1500, 20);
}

TEST(WorkloadTest, HeavyTailsEndAtTheirMaximum) {
  const auto workload =
      Workload::Parse(Application::kSpin, "pareto:alpha=0.5,min=1us,max=1ms");
  ASSERT_TRUE(workload) << workload.error().message;
  EXPECT_TRUE(std::isinf(workload->MeanServiceNanos()));
  base::Random random(1);
  uint32_t longest = 0;
  for (int i = 0; i < 10'000; ++i) {
    longest = std::max(longest, workload->DrawService(0, random));
  }
  EXPECT_EQ(longest, 1'000'000u);  // P(S > 1 ms) = 3%.
}

TEST(WorkloadTest, AModeIsAClass) {
  const auto workload =
      Workload::Parse(Application::kSpin, "bimodal:99.5%:5us,0.5%:500us");
  ASSERT_TRUE(workload);
  ASSERT_EQ(workload->classes().size(), 2u);
  EXPECT_EQ(workload->classes()[0].name, "5us");
  EXPECT_EQ(workload->classes()[1].name, "500us");
  base::Random random(9);
  int rare = 0;
  for (int i = 0; i < 100'000; ++i) rare += workload->DrawClass(random) == 1;
  EXPECT_NEAR(rare, 500, 110);  // 5 standard deviations of 22.
}

TEST(WorkloadTest, KvOperationsAreClasses) {
  const auto workload =
      Workload::Parse(Application::kKv, "get:94.5%,set:5%,mget500:0.5%");
  ASSERT_TRUE(workload) << workload.error().message;
  ASSERT_EQ(workload->classes().size(), 3u);
  EXPECT_EQ(workload->classes()[1].operation, KvOperation::kSet);
  EXPECT_EQ(workload->classes()[2].keys, 500u);
  EXPECT_TRUE(Workload::Parse(Application::kKv, "get"));
}

TEST(WorkloadTest, RocksdbOperationsAreClasses) {
  const auto workload =
      Workload::Parse(Application::kRocksdb, "get:90%,put:9.5%,scan5000:0.5%");
  ASSERT_TRUE(workload) << workload.error().message;
  EXPECT_EQ(workload->classes()[1].operation, KvOperation::kSet);
  EXPECT_EQ(workload->classes()[2].operation, KvOperation::kScan);
  EXPECT_EQ(workload->classes()[2].keys, 5000u);
}

TEST(WorkloadTest, ErrorsNameThePartAndTheRemedy) {
  const std::pair<const char*, const char*> spin[] = {
      {"", "known are fixed, exp"},
      {"uniform:5us", "'uniform' is no distribution"},
      {"fixed", "--service fixed: time is ''"},
      {"exp:10", "with its unit"},
      {"bimodal:99.5%:5us", "1 modes given; it takes 2"},
      {"bimodal:99%:5us,0.5%:500us", "add up to 99.5%"},
      {"bimodal:99.5%5us,0.5%:500us", "is not SHARE:TIME"},
      {"bimodal:50%:5us,50%:5us", "names '5us' twice"},
      {"mixture:1:5us", "share is '1'"},
      {"lognormal:mean=10us", "sigma is ''"},
      {"lognormal:mean=10us,sigma=1,mu=2", "unknown key 'mu'"},
      {"lognormal:mean=10us,mean=1us,sigma=2", "given twice"},
      {"lognormal:10us", "is not KEY=VALUE"},
      {"pareto:alpha=2", "exactly one of min= and mean="},
      {"pareto:alpha=0.9,mean=10us", "the mean is infinite"},
      {"pareto:alpha=2,min=1us,max=3s", "must be 1ns to 1s"},
      {"exp:0us", "time is '0us'; it must be 1ns or more"},
      {"lognormal:mean=0us,sigma=1", "mean is '0us'; it must be 1ns or more"},
      {"pareto:alpha=2,mean=0us", "mean is '0us'; it must be 1ns or more"},
      {"pareto:alpha=2,min=0us", "min is '0us'; it must be 1ns or more"},
  };
  for (const auto& [text, words] : spin) {
    const auto workload = Workload::Parse(Application::kSpin, text);
    ASSERT_FALSE(workload) << text;
    EXPECT_THAT(workload.error().message, HasSubstr(words)) << text;
  }
  const std::pair<const char*, const char*> kv[] = {
      {"", "no operation of kv"},
      {"put", "known are get, set and mgetN"},
      {"mget", "N is ''"},
      {"mget0:100%", "from 1 to 1000"},
      {"mget1.5:100%", "whole number"},
      {"get:90%", "add up to 90%"},
      {"get:50%,get:50%", "names 'get' twice"},
      {"get,set", "add up to 200%"},
  };
  for (const auto& [text, words] : kv) {
    const auto workload = Workload::Parse(Application::kKv, text);
    ASSERT_FALSE(workload) << text;
    EXPECT_THAT(workload.error().message, HasSubstr(words)) << text;
  }
  const std::pair<const char*, const char*> rocksdb[] = {
      {"mget5", "'mget5' is no operation of rocksdb; known are get, put and"},
      {"scan", "--service scanN: N is ''"},
      {"scan100001", "from 1 to 100000"},
      {"scan1.5:100%", "whole number"},
  };
  for (const auto& [text, words] : rocksdb) {
    const auto workload = Workload::Parse(Application::kRocksdb, text);
    ASSERT_FALSE(workload) << text;
    EXPECT_THAT(workload.error().message, HasSubstr(words)) << text;
  }
}

}  // namespace
}  // namespace yamanote::load
