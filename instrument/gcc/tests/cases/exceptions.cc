// exceptions.cc - exceptions that pass through loops with probes.

#include <cstdint>
#include <stdexcept>
#include <string>

namespace {

int destroyed = 0;

struct Counted {
  ~Counted() { ++destroyed; }
};

[[gnu::noinline]] uint64_t Thrower(uint64_t depth, uint64_t at) {
  Counted counted;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < 7; ++i) {
    if (depth == 0 && i == at) throw std::out_of_range(std::to_string(at));
    if (depth != 0) sum += Thrower(depth - 1, at);
  }
  return sum + depth;
}

[[gnu::noinline]] uint64_t Rethrower(uint64_t at) {
  uint64_t rounds = 0;
  try {
    while (true) {
      ++rounds;
      Thrower(3, at);
    }
  } catch (const std::out_of_range&) {
    for (uint64_t i = 0; i < 100 + at; ++i) rounds = rounds * 3 + i;
    if (at % 2 == 0) throw;
  }
  return rounds;
}

}  // namespace

extern "C" uint64_t case_exceptions() {
  uint64_t result = 0;
  for (uint64_t at = 0; at < 7; ++at) {
    try {
      result = result * 31 + Rethrower(at);
    } catch (const std::exception& caught) {
      for (const char* p = caught.what(); *p != '\0'; ++p) {
        result = result * 17 + static_cast<uint64_t>(*p);
      }
    }
  }
  return result + static_cast<uint64_t>(destroyed);
}
