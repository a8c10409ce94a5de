// facts.h - what the machine, the kernel and this process's rights allow.
//
// Every fact is probed by using it (a call that succeeds or fails), not guessed
// from a version number: containers and hardened kernels differ from both.

#pragma once

#include <string>
#include <vector>

#include "base/topology.h"

namespace yamanote::tools {

enum class FactState : unsigned char {
  kPlain,    // Neither good nor bad.
  kGood,     // There, and Yamanote gains from it.
  kMissing,  // Not there; `remark` says what that costs.
  kLimited,  // There, but a limit may be hit; `remark` says how to raise it.
};
std::string_view ToString(FactState state);

struct Fact {
  std::string key;    // In JSON: "madv_guard_install".
  std::string label;  // In text: "light stack guards".
  std::string value;
  FactState state = FactState::kPlain;
  std::string remark;
};

struct FactSection {
  std::string key;
  std::string title;
  std::vector<Fact> facts;
};

// Whether a fact of this key is there and good.
bool IsGood(const std::vector<FactSection>& sections, std::string_view key);

FactSection MachineFacts(const base::Topology& topology);
FactSection KernelFacts();
FactSection LimitFacts();
FactSection PermissionFacts();

}  // namespace yamanote::tools
