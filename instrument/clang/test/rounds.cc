// rounds.cc - prints by how many probes loops of 0, 1, 2 ... rounds come.

#include <cstdint>
#include <cstdio>

#include "instrument/clang/test/stand_in.h"

namespace {

// Nobody can tell how many rounds it has.
[[gnu::noinline]] const char* Find(const char* at, char wanted) {
  while (*at != wanted) ++at;
  return at;
}

uint64_t Hits(const char* text) {
  const uint64_t before = g_stand_in.hits;
  stand_in_start();
  const bool found = *Find(text, 'x') == 'x';
  stand_in_stop();
  return found ? g_stand_in.hits - before : UINT64_MAX;
}

}  // namespace

int main() {
  const char text[] = "       x";
  Hits(text);  // The first hit walks the stack, which has loops, too.
  for (int rounds = 0; rounds < 7; ++rounds) {
    std::printf("%s%ju", rounds == 0 ? "" : " ",
                static_cast<uintmax_t>(Hits(text + 7 - rounds)));
  }
  std::puts("");
}
