// test_kernel.h - a kernel in virtual time that notes what it is asked, and an application
// without a process.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "arbiter/arbiter.h"

namespace yamanote::arbiter {

class TestKernel final : public Kernel {
 public:
  Duration Now() override { return now; }
  void Wake(const std::atomic<uint32_t>& word) override {
    woken.push_back(&word);
    if (on_wake) on_wake();
  }
  bool Has(const Process& process, int tid) override {
    return tid > 0 && tid / 1000 == process.pid && !gone.contains(tid);
  }
  bool Signal(const Process& process, int tid) override {
    signalled.push_back(tid);
    return Has(process, tid);
  }
  bool SetClass(const Process& process, int tid, ThreadClass which) override {
    ++calls;
    classes[tid] = which;
    return Has(process, tid);
  }
  bool SetCpus(const Process& process, int tid,
               std::span<const int> to) override {
    cpus[tid] = {to.begin(), to.end()};
    return Has(process, tid);
  }
  bool Restores() override { return restores; }

  Duration now = std::chrono::seconds(1);
  bool restores = true;
  std::vector<const std::atomic<uint32_t>*> woken;
  std::vector<int> signalled;
  std::map<int, ThreadClass> classes;
  std::map<int, std::vector<int>> cpus;
  std::set<int> gone;
  unsigned calls = 0;
  std::function<void()> on_wake;  // What others do meanwhile.
};

struct TestMemory {
  std::unique_ptr<std::array<CoreSignals, kMostCores>> signals =
      std::make_unique<std::array<CoreSignals, kMostCores>>();
};

// A process `pid` whose worker on core c is thread 1000 * pid + c + 1.
inline Process TestProcess(pid_t pid) {
  Process process;
  process.pid = pid;
  return process;
}

}  // namespace yamanote::arbiter
