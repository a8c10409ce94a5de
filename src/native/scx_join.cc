// scx_join.cc - threads enter and leave the class SCHED_EXT.

#include <fmt/format.h>
#include <sched.h>

#include <cerrno>
#include <cstring>

#include "native/scx.h"

namespace yamanote::native {

namespace {

constexpr int kSchedExt = 7;  // SCHED_EXT of the kernel's ABI.

Result<void> SetClass(pid_t tid, int policy) {
  const sched_param none{};
  if (sched_setscheduler(tid, policy, &none) == 0) return {};
  const int error = errno;
  const ErrorCode code = error == ESRCH   ? ErrorCode::kNotFound
                         : error == EPERM ? ErrorCode::kPermissionDenied
                                          : ErrorCode::kUnsupported;
  return tl::unexpected(
      Error{.code = code,
            .message = fmt::format("thread {} cannot be given the scheduling "
                                   "class {}: {}",
                                   tid, policy == kSchedExt ? "ext" : "other",
                                   std::strerror(error)),
            .system_errno = error});
}

}  // namespace

Result<void> JoinScx(pid_t tid) { return SetClass(tid, kSchedExt); }

Result<void> LeaveScx(pid_t tid) { return SetClass(tid, SCHED_OTHER); }

}  // namespace yamanote::native
