// core_policy_test.h - an application for tests of core policies, shown pass by pass.

#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string_view>
#include <vector>

#include "yamanote/core_policy.h"

namespace yamanote {

class ShownApp {
 public:
  ShownApp(std::string_view policy, unsigned held,
           CorePolicyOptions options = {.cores = 4})
      : cores(options.cores), policy_(FindCorePolicy(policy)->make(options)) {
    for (CoreId core = 0; core < options.cores; ++core) {
      cores[core].core = core;
      cores[core].held = core < held;
    }
  }

  // One pass, an interval of 5 us after the last.
  Wish Decide() {
    unsigned held = 0;
    for (const CoreSample& core : cores) held += core.held ? 1 : 0;
    return policy_->Decide({.cores = cores,
                            .held = held,
                            .elapsed = std::chrono::microseconds(5)});
  }

  std::vector<CoreSample> cores;

 private:
  std::unique_ptr<CorePolicy> policy_;
};

}  // namespace yamanote
