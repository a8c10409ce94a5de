// random.h - a fast generator of random numbers, the same on every machine.
//
// Xoshiro256++ seeded through SplitMix64. The standard library's distributions
// differ between implementations, so the few that are needed are here: a seed
// means the same sequence everywhere. Not for secrets.
//
// Source: Blackman and Vigna, "Scrambled Linear Pseudorandom Number
// Generators", ACM TOMS 47(4), 2021 (the generator and its jump by seeding).

#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace yamanote::base {

// The natural logarithm of x > 0, normal, within 2^-50 of it or so. Only sums and
// products of doubles, so the same on every machine, which std::log is not; and a
// third of std::log1p's time.
inline constexpr double PortableLog(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  // x = m * 2^e with m in [sqrt(1/2), sqrt(2)).
  constexpr uint64_t kSqrtHalf = 0x3fe6a09e667f3bcd;
  const uint64_t shifted = bits - kSqrtHalf;
  const auto e = static_cast<double>(static_cast<int64_t>(shifted) >> 52);
  const double m =
      std::bit_cast<double>((shifted & ((uint64_t{1} << 52) - 1)) + kSqrtHalf);
  // ln m = 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172.
  const double s = (m - 1) / (m + 1);
  const double z = s * s;
  const double z2 = z * z;
  const double z4 = z2 * z2;
  const double even =
      (1.0 / 3 + z * (1.0 / 5)) + z2 * (1.0 / 7 + z * (1.0 / 9));
  const double odd =
      (1.0 / 11 + z * (1.0 / 13)) + z2 * (1.0 / 15 + z * (1.0 / 17));
  return e * 0.693147180559945309 + 2 * (s + s * z * (even + z4 * odd));
}

// e^-x for 0 <= x <= 16, in the same way.
inline constexpr double PortableExpOfMinus(double x) {
  // Of a 256th by its series, then squared eight times.
  const double small = x / 256;
  double term = 1;
  double sum = 1;
  for (int i = 1; i < 12; ++i) {
    term *= -small / i;
    sum += term;
  }
  for (int i = 0; i < 8; ++i) sum *= sum;
  return sum;
}

// Layers of equal area below e^-x, for Random::Exponential().
//
// Source: Marsaglia and Tsang, "The Ziggurat Method for Generating Random Variables",
// Journal of Statistical Software 5(8), 2000.
struct ExponentialLayers {
  static constexpr unsigned kLayers = 256;
  static constexpr double kTail =
      7.69711747013104972;  // Where the last one begins.
  static constexpr double kArea = 3.9496598225815571993e-3;

  double right[kLayers + 1] =
      {};  // Where each ends, and the next begins to be inside.
  double height[kLayers + 1] = {};  // e^-right.
  double width[kLayers] = {};  // By what 53 random bits are to be multiplied.
  uint64_t inside[kLayers] = {};  // Of these, fewer are surely below e^-x.

  constexpr ExponentialLayers() {
    right[0] = kArea / PortableExpOfMinus(kTail);
    right[1] = kTail;
    for (unsigned i = 1; i < kLayers; ++i) {
      const double next = PortableExpOfMinus(right[i]) + kArea / right[i];
      right[i + 1] = i + 1 == kLayers ? 0 : -PortableLog(next);
    }
    for (unsigned i = 0; i <= kLayers; ++i)
      height[i] = PortableExpOfMinus(i == 0 ? kTail : right[i]);
    for (unsigned i = 0; i < kLayers; ++i) {
      width[i] = right[i] * 0x1p-53;
      inside[i] = static_cast<uint64_t>(right[i + 1] / right[i] * 0x1p53);
    }
  }
};
inline constexpr ExponentialLayers kExponentialLayers;

class Random {
 public:
  using result_type = uint64_t;

  // Generators of one `seed` with different `stream`s are independent.
  explicit Random(uint64_t seed, uint64_t stream = 0) {
    uint64_t state = SplitMix(seed) ^ SplitMix(~stream);
    for (uint64_t& word : state_) word = SplitMix(state += kGolden);
  }

  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return UINT64_MAX; }

  uint64_t operator()() {
    const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  // Uniform in [0, limit); limit > 0. Biased by less than limit / 2^64.
  uint64_t Below(uint64_t limit) {
    __extension__ typedef unsigned __int128 Wide;
    return static_cast<uint64_t>((static_cast<Wide>((*this)()) * limit) >> 64);
  }

  // Uniform in [0, 1), in steps of 2^-53.
  double Uniform() { return static_cast<double>((*this)() >> 11) * 0x1p-53; }

  // Exponential with the given mean. One random number and one product, 98 times of 100.
  double Exponential(double mean) {
    const uint64_t bits = (*this)();
    const uint64_t layer = bits & (ExponentialLayers::kLayers - 1);
    const uint64_t along = bits >> 11;
    const double x =
        static_cast<double>(along) * kExponentialLayers.width[layer];
    if (along < kExponentialLayers.inside[layer]) [[likely]]
      return mean * x;
    const Edge edge = ExponentialAtEdge(state_, layer, x);
    state_ = edge.state;
    return mean * edge.x;
  }

  // Normal with mean 0 and standard deviation 1 (Box-Muller, one of the pair).
  double Normal() {
    const double radius = std::sqrt(Exponential(2.0));
    return radius * std::cos(6.283185307179586 * Uniform());
  }

  // Pareto: P(X > x) = (minimum / x)^alpha for x >= minimum.
  double Pareto(double minimum, double alpha) {
    return minimum * std::exp(Exponential(1.0 / alpha));
  }

 private:
  static constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;
  static uint64_t SplitMix(uint64_t x) {
    x += kGolden;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

  using State = std::array<uint64_t, 4>;
  explicit Random(const State& state) : state_(state) {}

  struct Edge {
    State state;
    double x;
  };

  // Of mean 1, if `x` in `layer` may be above e^-x. Apart, so that the usual case is short
  // enough to be inlined; with copies, so that a generator in a loop can be in registers.
  [[gnu::noinline]] static Edge ExponentialAtEdge(State state, uint64_t layer,
                                                  double x) {
    const ExponentialLayers& layers = kExponentialLayers;
    Random random(state);
    if (layer == 0) {
      // What is beyond the last one is exponential again.
      x = ExponentialLayers::kTail - PortableLog(1 - random.Uniform());
    } else {
      const double y =
          layers.height[layer] +
          random.Uniform() * (layers.height[layer + 1] - layers.height[layer]);
      if (y >= PortableExpOfMinus(x)) x = random.Exponential(1);
    }
    return {random.state_, x};
  }

  State state_;
};

}  // namespace yamanote::base
