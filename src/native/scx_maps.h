// scx_maps.h - the sched_ext programs and their maps, loaded or found by their pins.

#pragma once

#include <memory>
#include <string>

#include "native/bpf/scx_shared.h"
#include "native/scx.h"

namespace yamanote::native {

// What Missing() says of the kernel, and values that move between kernels.
struct ScxKernelFacts {
  std::vector<std::string> missing;
  uint64_t flags =
      0;  // For sched_ext_ops: partial switch, and enqueue the last.
};
ScxKernelFacts ProbeScx();

// A descriptor, closed with its owner.
class ScxFd {
 public:
  explicit ScxFd(int fd = -1) : fd_(fd) {}
  ScxFd(ScxFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ScxFd& operator=(ScxFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~ScxFd();
  int get() const { return fd_; }

 private:
  int fd_;
};

// The kernel's side. The mappings end with the process: agents' threads may still look.
struct ScxMaps {
  ScxFd threads_fd, cores_fd, queues_fd, transactions_fd, control_fd, rings_fd;
  ScxFd commit_fd, associate_fd, sweep_fd;
  ScxFd link;  // The scheduler lives as long as it or its pin.
  ScxFd pins;  // The folder, locked by who has it.
  std::string pins_path;
  bool resumed = false;

  ScxThread* threads = nullptr;
  ScxCore* cores = nullptr;
  ScxQueue* queues = nullptr;
  Transaction* transactions = nullptr;
  ScxControl* control = nullptr;

  ~ScxMaps();
  void Unpin();
};

// Errors: those of ScxKernel::Create().
Result<std::unique_ptr<ScxMaps>> LoadScx(const ScxOptions& options);

}  // namespace yamanote::native
