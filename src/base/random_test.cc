// random_test.cc - the generator repeats itself and has the right moments.

#include "base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <iterator>

namespace yamanote::base {
namespace {

constexpr int kDraws = 400'000;

TEST(RandomTest, SeedAndStreamDecideTheSequence) {
  Random a(1, 2), same(1, 2), other_seed(2, 2), other_stream(1, 3);
  bool seed_differs = false, stream_differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t value = a();
    EXPECT_EQ(value, same());
    seed_differs |= value != other_seed();
    stream_differs |= value != other_stream();
  }
  EXPECT_TRUE(seed_differs);
  EXPECT_TRUE(stream_differs);
}

// Standard errors with 400,000 draws: 0.16% of the mean for the exponential.
TEST(RandomTest, MomentsMatchTheory) {
  Random random(11);
  double uniform = 0, exponential = 0, exponential_square = 0, normal = 0,
         normal_square = 0, pareto = 0;
  for (int i = 0; i < kDraws; ++i) {
    uniform += random.Uniform();
    const double e = random.Exponential(10);
    exponential += e;
    exponential_square += e * e;
    const double n = random.Normal();
    normal += n;
    normal_square += n * n;
    pareto += random.Pareto(2, 3);
  }
  EXPECT_NEAR(uniform / kDraws, 0.5, 0.003);
  EXPECT_NEAR(exponential / kDraws, 10, 0.1);
  EXPECT_NEAR(exponential_square / kDraws, 200, 5);
  EXPECT_NEAR(normal / kDraws, 0, 0.01);
  EXPECT_NEAR(normal_square / kDraws, 1, 0.02);
  EXPECT_NEAR(pareto / kDraws, 3, 0.03);  // 2 * 3 / (3 - 1).
}

TEST(RandomTest, ItsLogarithmAndItsPowersAreThose) {
  Random random(3);
  for (int i = 0; i < kDraws; ++i) {
    const double x = 1 - random.Uniform();
    ASSERT_NEAR(PortableLog(x), std::log(x),
                1e-15 + 1e-15 * std::abs(std::log(x)))
        << x;
    ASSERT_NEAR(PortableExpOfMinus(16 * x) / std::exp(-16 * x), 1, 1e-12) << x;
  }
  EXPECT_EQ(PortableLog(1), 0);
  EXPECT_NEAR(PortableLog(0x1p-53), -53 * std::log(2), 1e-13);
}

// P(X > x) = e^-x everywhere: within the layers, at their edges and in the tail. Four
// standard errors of 4 million draws.
TEST(RandomTest, ExponentialHasItsDistribution) {
  Random random(7);
  constexpr int kMany = 4'000'000;
  constexpr double kPoints[] = {0.001, 0.01, 0.1, 0.5, 1, 2,
                                4,     7.5,  7.7, 8,   10};
  int beyond[std::size(kPoints)] = {};
  for (int i = 0; i < kMany; ++i) {
    const double x = random.Exponential(1);
    for (std::size_t p = 0; p < std::size(kPoints); ++p)
      beyond[p] += x > kPoints[p];
  }
  for (std::size_t p = 0; p < std::size(kPoints); ++p) {
    const double expected = std::exp(-kPoints[p]);
    EXPECT_NEAR(beyond[p] / static_cast<double>(kMany), expected,
                4 * std::sqrt(expected * (1 - expected) / kMany))
        << kPoints[p];
  }
}

// Each of 10 cells expects 40,000 with a standard deviation of 190.
TEST(RandomTest, BelowIsUniformAndBelow) {
  Random random(5);
  int cells[10] = {};
  for (int i = 0; i < kDraws; ++i) {
    const uint64_t value = random.Below(10);
    ASSERT_LT(value, 10u);
    ++cells[value];
  }
  for (const int cell : cells) EXPECT_NEAR(cell, kDraws / 10.0, 1000);
}

}  // namespace
}  // namespace yamanote::base
