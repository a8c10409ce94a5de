// tracing_object.h - the BPF programs of bpf/tracing.bpf.c, loaded and attached.
//
// Owns everything that the kernel keeps for a traced enclave. Nothing is pinned: when the
// last descriptor is closed, by whatever means, programs and maps are gone.
//
// Thread safety: one thread; what the pointers lead to is tracing_abi.h's.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "native/bpf/tracing_abi.h"
#include "yamanote/result.h"

struct bpf_link;
struct bpf_object;

namespace yamanote::native {

class TracingObject {
 public:
  struct Options {
    uint32_t max_threads = 0;
    uint32_t max_queues = 0;
    std::vector<unsigned> cpus;  // By core.
  };

  // Errors name what is missing and the remedy: kPermissionDenied, kUnsupported,
  // kResourceExhausted.
  static Result<std::unique_ptr<TracingObject>> Load(const Options& options);
  ~TracingObject();
  TracingObject(const TracingObject&) = delete;
  TracingObject& operator=(const TracingObject&) = delete;

  TracedThread& thread(uint32_t index) { return threads_[index]; }
  TracedThread* threads() const { return threads_; }
  TracedQueue* queues() const { return queues_; }
  TracedAgent* agents() const { return agents_; }
  TracedCommon* common() const { return common_; }
  TracedStray* strays() const { return strays_; }

  // A free index; false: there is none.
  bool TakeIndex(uint32_t& index);
  void GiveIndex(uint32_t index);
  // The programs look at `tid` from now on; false: they do already.
  bool Watch(pid_t tid, uint32_t index);
  // Not any more; false: they do not anyway. Whoever gets true frees the index.
  bool Unwatch(pid_t tid);
  bool FindIndex(pid_t tid, uint32_t& index) const;

  // Creates a ring of `bytes`, a power of two and pages. Returns its descriptor.
  Result<int> CreateRing(uint32_t queue, uint32_t bytes);
  void RemoveRing(uint32_t queue);

  // Keep the programs attached. The guardian holds copies.
  std::vector<int> LinkDescriptors() const;

 private:
  TracingObject() = default;
  Result<void> Open(const Options& options);
  template <typename T>
  Result<void> Map(const char* name, uint32_t count, T*& memory);
  int DescriptorOf(const char* name) const;

  bpf_object* object_ = nullptr;
  std::vector<bpf_link*> links_;
  std::vector<std::pair<void*, std::size_t>> mappings_;
  TracedThread* threads_ = nullptr;
  TracedQueue* queues_ = nullptr;
  TracedAgent* agents_ = nullptr;
  TracedCommon* common_ = nullptr;
  TracedStray* strays_ = nullptr;
  int indices_ = -1;
  int unused_ = -1;
  int rings_ = -1;
};

}  // namespace yamanote::native
