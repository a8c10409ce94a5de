// random.h - a fast generator of random numbers, the same on every machine.
//
// Xoshiro256++ seeded through SplitMix64. The standard library's distributions
// differ between implementations, so the few that are needed are here: a seed
// means the same sequence everywhere. Not for secrets.
//
// Source: Blackman and Vigna, "Scrambled Linear Pseudorandom Number
// Generators", ACM TOMS 47(4), 2021 (the generator and its jump by seeding).

#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace yamanote::base {

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

  // Exponential with the given mean.
  double Exponential(double mean) { return -mean * std::log1p(-Uniform()); }

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

  uint64_t state_[4];
};

}  // namespace yamanote::base
