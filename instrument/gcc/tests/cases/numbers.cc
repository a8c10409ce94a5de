// numbers.cc - values that live in odd registers while probes are met.

#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstring>

namespace {

[[gnu::noinline]] double SumOf(int count, ...) {
  va_list arguments;
  va_start(arguments, count);
  double sum = 0;
  for (int i = 0; i < count; ++i) {
    sum += i % 2 == 0 ? static_cast<double>(va_arg(arguments, int))
                      : va_arg(arguments, double);
  }
  va_end(arguments);
  return sum;
}

template <typename Number>
uint64_t Bits(Number number) {
  uint64_t bits = 0;
  std::memcpy(&bits, &number, sizeof(number) < 8 ? sizeof(number) : 8);
  return bits;
}

}  // namespace

extern "C" uint64_t case_varargs() {
  uint64_t result = 0;
  for (int i = 0; i < 20; ++i) {
    result = result * 3 +
             Bits(SumOf(9, i, 0.5, i + 1, 1.5, i + 2, 2.5, i + 3, 3.5, i + 4));
  }
  return result;
}

extern "C" uint64_t case_int128() {
  unsigned __int128 value = 1;
  __int128 sum = -1;
  for (uint64_t i = 1; i < 200; ++i) {
    value = value * 0xdeadbeefcafef00dull + i;
    // An addition with carry, and a division in the library.
    sum += static_cast<__int128>(value >> 3) - static_cast<__int128>(i);
    sum ^= static_cast<__int128>(value / (i + 3));
  }
  return static_cast<uint64_t>(sum) ^ static_cast<uint64_t>(sum >> 64);
}

extern "C" uint64_t case_long_double() {
  long double a = 1.0L;
  long double b = 0.5L;
  long double c = -3.25L;
  long double d = 7.0L;
  for (int i = 1; i < 300; ++i) {
    // All four stay on the x87 stack between rounds.
    a = a * 1.0001L + b;
    b = b * 0.999L - c / 3.0L;
    c = c + d * 1e-5L;
    d = d * 1.00003L + a * 1e-9L;
    if (b > 1e4L) b = std::sqrt(b);
  }
  return Bits(a) ^ (Bits(b) << 1) ^ (Bits(c) << 2) ^ (Bits(d) << 3);
}

extern "C" uint64_t case_floats() {
  static float left[1003];
  static float right[1003];
  for (int i = 0; i < 1003; ++i) {
    left[i] = static_cast<float>(i) * 0.37F;
    right[i] = static_cast<float>(1003 - i) * 1.3F;
  }
  uint64_t result = 0;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 1003; ++i) {
      left[i] = left[i] * 0.75F + right[i] * static_cast<float>(round);
    }
    for (int i = 1; i < 1003; ++i) {
      right[i] = left[i - 1] > right[i] ? std::sqrt(left[i]) : right[i] + 1;
    }
    int largest = 0;
    for (int i = 0; i < 1003; ++i) {
      if (left[i] > left[largest]) largest = i;
    }
    result = result * 31 + Bits(left[round * 100]) + Bits(right[77]) +
             static_cast<uint64_t>(largest);
  }
  return result;
}

namespace {

// A leaf whose array lies below the stack pointer.
[[gnu::noinline]] uint64_t Leaf(uint64_t seed, uint64_t rounds) {
  volatile uint64_t words[15];
  for (uint64_t i = 0; i < 15; ++i) words[i] = seed + i;
  for (uint64_t i = 0; i < rounds; ++i) {
    words[i % 15] = words[(i * 7) % 15] + words[(i + 3) % 15];
  }
  return words[rounds % 15];
}

}  // namespace

extern "C" uint64_t case_red_zone() {
  uint64_t result = 0;
  for (uint64_t i = 0; i < 30; ++i) result = result * 5 + Leaf(i, 40 + i);
  return result;
}
