// rights.cc - sums up what a user has.

#include "arbiter/rights.h"

#include <cerrno>
#include <string>

#include "arbiter/abi.h"

namespace yamanote::arbiter {
namespace {

tl::unexpected<Error> Forbid(uid_t uid, const std::string& what,
                             const std::string& remedy) {
  return MakeError(ErrorCode::kPermissionDenied,
                   what + " user " + std::to_string(uid) + " may have; " +
                       remedy + ", or let yamanoted --user allow more",
                   EPERM);
}

}  // namespace

void Rights::AddOwners(uid_t own) {
  for (const uid_t uid : {uid_t{0}, own}) {
    users.try_emplace(uid, Right{.guaranteed = kMostCores,
                                 .burst = kMostCores,
                                 .apps = kMostApps});
  }
}

const Right& Rights::Of(uid_t uid) const {
  const auto found = users.find(uid);
  return found == users.end() ? others : found->second;
}

Result<Limits> Rights::Check(uid_t uid, std::span<const Limits> present,
                             const Limits& limits,
                             bool as_many_as_there_are) const {
  const Right& right = Of(uid);
  unsigned guaranteed = limits.guaranteed;
  for (const Limits& one : present) guaranteed += one.guaranteed;
  if (present.size() >= right.apps) {
    return Forbid(uid,
                  "this would be application number " +
                      std::to_string(present.size() + 1) + " of " +
                      std::to_string(right.apps) + " that",
                  "end another one");
  }
  if (limits.best_effort) return limits;
  if (guaranteed > right.guaranteed) {
    return Forbid(uid,
                  "guaranteed = " + std::to_string(limits.guaranteed) +
                      " would make " + std::to_string(guaranteed) +
                      " guaranteed cores of " +
                      std::to_string(right.guaranteed) + " that",
                  "ask for fewer, or for best effort");
  }
  Limits allowed = limits;
  if (limits.most - limits.guaranteed > right.burst) {
    allowed.most = limits.guaranteed + right.burst;
    if (!as_many_as_there_are || allowed.most == 0) {
      return Forbid(uid,
                    "most = " + std::to_string(limits.most) + " is more than " +
                        std::to_string(allowed.most) +
                        ", with this guarantee, that an application of",
                    "ask for fewer, or for best effort");
    }
  }
  return allowed;
}

}  // namespace yamanote::arbiter
