// subject.cc - compiles src/dispatch/dedicated.cc itself, instrumented.
//
// The source is included, not copied: what is counted is what runs, and the
// layout of its types is known here.

#include "bench/dispatch/subject.h"

#include <cstdlib>
#include <new>

#include "dispatch/dedicated.cc"  // NOLINT(bugprone-suspicious-include)

namespace {

// The latest array with an alignment of its own: the dispatcher's workers.
void* aligned_array = nullptr;

}  // namespace

void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  aligned_array =
      std::aligned_alloc(static_cast<std::size_t>(alignment), bytes);
  if (aligned_array == nullptr) std::abort();
  return aligned_array;
}
void operator delete[](void* array, std::align_val_t) noexcept {
  std::free(array);
}
void operator delete[](void* array, std::size_t, std::align_val_t) noexcept {
  std::free(array);
}

namespace yamanote {
extern const PolicyInfo kFifo;
}

namespace bench {

std::unique_ptr<yamanote::dispatch::Placement> MakeSubject(unsigned slots,
                                                           unsigned cores,
                                                           Machine& machine) {
  using namespace yamanote::dispatch;
  auto placement = MakeDedicated(yamanote::kFifo, {}, slots, cores,
                                 yamanote::dispatch::Callers::kManyThreads);
  const auto* const workers = static_cast<const Worker*>(aligned_array);
  for (unsigned core = 0; core < cores; ++core) {
    const Worker& worker = workers[core];
    machine.Name(&worker.entries, sizeof(worker.entries), "entry");
    machine.Name(&worker.sent, sizeof(worker.sent), "sent");
    machine.Name(&worker.taken, sizeof(worker.taken), "taken");
    machine.Name(&worker.completed, sizeof(worker.completed), "completed");
  }
  // The inbox is the last member, the domain the one before it.
  const char* const end =
      reinterpret_cast<const char*>(placement.get()) + sizeof(Dedicated);
  machine.Name(end - sizeof(TaskInbox), sizeof(TaskInbox), "inbox");
  machine.Name(end - sizeof(TaskInbox) - sizeof(Domain), sizeof(Domain),
               "domain");
  return placement;
}

}  // namespace bench
