// onetbb.cc - the thread benchmarks on oneTBB: spawn and fork-join.
//
// A task group's tasks run to their end on the kernel thread that took them:
// they can't yield, nor wait for each other without holding that thread. So the
// other workloads have no counterpart, and what is measured is tasks, not
// threads: a bound on what a thread could cost.

#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include "bench/threads/suite.h"

namespace {

void Tree(int depth) {
  if (depth == 0) return;
  tbb::task_group left;
  left.run([depth] { Tree(depth - 1); });
  Tree(depth - 1);
  left.wait();
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Selection selection = bench::ReadArguments(argc, argv);
  const bench::Counts counts;
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                  static_cast<size_t>(selection.cores));
  tbb::task_arena arena(selection.cores);
  arena.execute([&] {
    if (selection.Wants("spawn")) {
      bench::Report("spawn", counts.spawns, [&] {
        for (long i = 0; i < counts.spawns; ++i) {
          tbb::task_group group;
          group.run([] {});
          group.wait();
        }
      });
    }
    if (selection.Wants("forkjoin")) {
      bench::Report("forkjoin", static_cast<long>(counts.trees) << counts.depth,
                    [&] {
                      for (int tree = 0; tree < counts.trees; ++tree)
                        Tree(counts.depth);
                    });
    }
  });
  return 0;
}
