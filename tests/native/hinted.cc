// hinted.cc - a program that says which class its thread is of, then computes until it is
// ended: `hinted CLASS`.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "yamanote/hints.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("hinted CLASS\n", stderr);
    return 2;
  }
  yamanote::Result<yamanote::Hints> hints = yamanote::Hints::Open();
  if (!hints) {
    std::fprintf(stderr, "%s\n", hints.error().message.c_str());
    return 1;
  }
  const auto number = static_cast<yamanote::ClassId>(std::atoi(argv[1]));
  if (auto said = hints->Set({.request_class = number}); !said) {
    std::fprintf(stderr, "%s\n", said.error().message.c_str());
    return 1;
  }
  std::printf("%d\n", getpid());
  std::fflush(stdout);
  volatile unsigned turn = 0;
  for (;;) turn = turn + 1;
}
