// main.cc - an outside program: what a user of the installed library writes.

#include <yamanote/runtime.h>
#include <yamanote/thread.h>

int main() {
  auto runtime = yamanote::Runtime::Create({.cores = 1});
  if (!runtime) return 1;
  int answer = 0;
  (*runtime)->Run([&] { yamanote::Thread([&] { answer = 42; }).join(); });
  return answer == 42 ? 0 : 1;
}
