// strips.cc - counted loops, which the plug-in cuts into strips of up to 64 rounds.

#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "instrument/gcc/tests/stand_in.h"

namespace {

// Around one and two strips, and around those of eight times unrolled or vectorised
// loops.
constexpr uint32_t kRounds[] = {0,   1,   2,   7,   8,   9,   62,  63,
                                64,  65,  66,  119, 120, 121, 127, 128,
                                129, 500, 511, 512, 513, 514, 999, 2047};
constexpr uint32_t kMost = 2048;

uint64_t words[kMost + 8];
uint32_t halves[kMost + 8];
double numbers[kMost + 8];
volatile uint64_t box;

[[gnu::noipa]] void Fill(uint64_t* begin, uint64_t* end, uint64_t value) {
  for (uint64_t* word = begin; word != end; ++word) {
    *word = value;
    value += 3;
  }
}

[[gnu::noipa]] void FillFromEnd(uint64_t* begin, uint64_t* end) {
  uint64_t value = 5;
  while (end != begin) {
    *--end = value;
    value += value >> 3;
  }
}

// The counter's last value is of use.
[[gnu::noipa]] uint64_t* Mix(uint64_t* word, int64_t rounds, uint64_t* sum) {
  for (int64_t i = 0; i < rounds; ++i) {
    *sum = *sum * 31 + *word++;
    box = *sum;
  }
  return word;
}

template <typename Integer, int kStep>
[[gnu::noipa]] uint64_t Count(Integer from, Integer to) {
  uint64_t sum = 1;
  for (Integer i = from; i != to;
       i = static_cast<Integer>(i + static_cast<Integer>(kStep))) {
    sum = sum * 3 + i;
    box = sum;
  }
  return sum;
}

// At least one round, if from == to all there are but one.
template <typename Integer, int kStep>
[[gnu::noipa]] uint64_t CountOnce(Integer from, Integer to) {
  uint64_t sum = 1;
  do {
    sum = sum * 3 + from;
    box = sum;
    from = static_cast<Integer>(from + static_cast<Integer>(kStep));
  } while (from != to);
  return sum;
}

template <typename Integer, int kStep>
uint64_t CountUpAndDown(uint32_t rounds, Integer from) {
  const auto to =
      static_cast<Integer>(from + rounds * static_cast<Integer>(kStep));
  uint64_t sum = Count<Integer, kStep>(from, to);
  sum = sum * 5 + Count<Integer, -kStep>(to, from);
  if (rounds == 0) return sum;
  sum = sum * 5 + CountOnce<Integer, kStep>(from, to);
  return sum * 5 + CountOnce<Integer, -kStep>(to, from);
}

[[gnu::noipa]] double InOrder(const double* number, int rounds) {
  double sum = 1;
  for (int i = 0; i < rounds; ++i) sum = sum * 0.75 + number[i];
  return sum;
}

[[gnu::noipa]] uint32_t Independent(uint32_t* half, int rounds) {
  uint32_t sum = 0;
#pragma GCC ivdep
  for (int i = 0; i < rounds; ++i) {
    half[i] = half[i] * 7 + 1;
    sum += half[i];
  }
  return sum;
}

[[gnu::noipa]] uint64_t Signed(const uint32_t* half, int from, int to) {
  uint64_t sum = 0;
  for (int i = to - 1; i >= from; --i) sum = sum * 3 + half[i];
  return sum;
}

// Branches in a round, and a division.
[[gnu::noipa]] uint64_t Branches(const uint64_t* word, uint64_t rounds) {
  uint64_t sum = 1;
  for (uint64_t i = 0; i < rounds; ++i) {
    if (word[i] % 3 == 0) {
      box = sum;
      sum += word[i];
    } else if (word[i] & 4) {
      sum = sum * 5 + i;
    }
    sum ^= word[i] / (i + 1);
  }
  return sum;
}

// Ends at what it finds, or with its counter.
[[gnu::noipa]] uint64_t Find(const uint64_t* word, uint64_t rounds,
                             uint64_t wanted) {
  for (uint64_t i = 0; i < rounds; ++i) {
    if (word[i] == wanted) return i;
  }
  return rounds * 2;
}

// The inner loop begins anew where the outer one's round is, so must its strips.
[[gnu::noipa]] uint64_t Triangle(const uint64_t* word, uint64_t rounds) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < rounds; i += 29) {
    uint64_t part = i;
    for (uint64_t k = i; k < rounds; ++k) part = part * 3 + word[k];
    sum = sum * 7 + part;
  }
  return sum;
}

// Several ways into the loop.
[[gnu::noipa]] uint64_t Ways(const uint64_t* word, uint64_t rounds,
                             uint64_t way) {
  uint64_t i = 0;
  uint64_t sum = 11;
  if (rounds <= 6) return way;
  if (way == 0) goto loop;
  sum = box;
  if (way == 1) goto loop;
  i = 3;
  if (box == 7) goto loop;
  sum = way;
loop:
  do {
    sum = sum * 3 + word[i];
    box = sum;
  } while (++i != rounds);
  return sum;
}

// Both ends are known when it is compiled.
[[gnu::noipa]] uint64_t Known() {
  uint64_t sum = 1;
  for (const uint64_t* word = words + 1; word != words + kMost; ++word) {
    sum = sum * 3 + *word;
    box = sum;
  }
  return sum;
}

uint64_t Bits(double number) {
  uint64_t bits = 0;
  std::memcpy(&bits, &number, sizeof(bits));
  return bits;
}

uint64_t AllFor(uint32_t rounds) {
  uint64_t sum = rounds;
  const auto note = [&sum](uint64_t value) {
    sum = sum * 1099511628211u + value;
  };
  const auto count = static_cast<int>(rounds);
  Fill(words, words + rounds, rounds);
  note(Find(words, rounds, rounds + 3ull * (rounds / 2)));
  note(Find(words, rounds, 0));
  uint64_t mixed = 3;
  note(static_cast<uint64_t>(Mix(words, count, &mixed) - words));
  note(mixed);
  FillFromEnd(words + 1, words + 1 + rounds);
  note(Branches(words, rounds));
  note(Triangle(words, rounds));
  for (uint64_t way = 0; way < 3; ++way) {
    box = way;
    note(Ways(words, rounds, way));
  }
  note(Known());
  for (uint32_t i = 0; i < kMost; ++i) {
    halves[i] = i * i;
    numbers[i] = static_cast<double>(i) * 0.37;
  }
  note(Bits(InOrder(numbers, count)));
  note(Independent(halves, count));
  note(Signed(halves, count / 3, count));
  for (const uint32_t from : {0u, 17u, 0xffffffe0u, 0x7ffffff0u}) {
    note(CountUpAndDown<uint32_t, 1>(rounds, from));
    note(CountUpAndDown<uint32_t, 3>(rounds, from));
    note(CountUpAndDown<uint32_t, 4>(rounds, from));
    // Goes round every 8192 rounds.
    note(CountUpAndDown<uint32_t, (1 << 19) + 1>(rounds * 9, from));
    note(CountUpAndDown<uint64_t, 1>(rounds, from));
    note(CountUpAndDown<uint64_t, 5>(rounds, from));
    note(CountUpAndDown<uint64_t, 8>(rounds, from));
    note(CountUpAndDown<uint64_t, 24>(rounds, ~0ull - from));
  }
  return sum;
}

uint64_t Full(uint64_t rounds) {
  return CountOnce<uint16_t, 1>(static_cast<uint16_t>(rounds),
                                static_cast<uint16_t>(rounds));
}

// Comes by 5 only after it has gone round twice.
uint64_t TwiceRound(uint64_t) { return Count<uint16_t, 3>(0, 4); }

}  // namespace

extern "C" uint64_t case_strips() {
  uint64_t sum = 0;
  for (const uint32_t rounds : kRounds) sum = sum * 3 + AllFor(rounds);
  return sum ^ Full(9) ^ TwiceRound(0);
}

// However long a loop, the next probe is not far: a round is 1 to 20 instructions
// here, eight of them are one where it is vectorised.
extern "C" uint64_t case_strip_gaps() {
  constexpr uint64_t kLong = 1 << 19;
  constexpr uint64_t kProbes = kLong / 1024;
  static uint64_t many[kLong];
  uint64_t sum = stand_in_call_given(
      [](uint64_t n) {
        Fill(many, many + n, 7);
        return many[n / 2];
      },
      kLong, kProbes);
  sum += stand_in_call_given([](uint64_t n) { return Branches(many, n); },
                             kLong, kProbes);
  sum += stand_in_call_given([](uint64_t n) { return Find(many, n, 1); }, kLong,
                             kProbes);
  return sum + stand_in_call_given(
                   [](uint64_t n) {
                     return Count<uint32_t, 3>(0, static_cast<uint32_t>(n * 3));
                   },
                   kLong, kProbes);
}
