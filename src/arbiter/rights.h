// rights.h - what applications of which user may have.
//
// Root and the arbiter's own user may have everything, unless they are named. Best-effort
// applications hold what is left anyway, so their cores are not limited, only their number.

#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <span>

#include "arbiter/allocator.h"
#include "yamanote/result.h"

namespace yamanote::arbiter {

struct Right {
  unsigned guaranteed =
      0;               // Cores, of all of the user's applications together.
  unsigned burst = 0;  // Cores beyond the guarantee, of each application.
  unsigned apps = 8;   // Applications, best effort included.
};

class Rights {
 public:
  // What nobody says otherwise: best effort only.
  Right others{};
  std::map<uid_t, Right> users;

  // Everything for root and `own`, as far as they are not named.
  void AddOwners(uid_t own);
  const Right& Of(uid_t uid) const;

  // Whether a user whose applications have `present` may have one more with `limits`.
  // `most` becomes less where no certain number was asked for. The error names what is
  // exceeded; its errno is EPERM.
  Result<Limits> Check(uid_t uid, std::span<const Limits> present,
                       const Limits& limits, bool as_many_as_there_are) const;
};

}  // namespace yamanote::arbiter
