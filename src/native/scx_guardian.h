// scx_guardian.h - a process of its own that gives threads of sched_ext back what they had.
//
// The kernel's fair class runs them by itself once the scheduler is gone, but they would
// still have the class SCHED_EXT by name, and the affinity that they joined with. The
// guardian holds the scheduler's link too, so that the scheduler is there until it is done.
//
//   watching -> the agents' process has ended   -> restores, ends
//            -> asked to: Stop()                -> restores, ends
//            -> the kernel ejected the scheduler -> restores, ends
//
// Who has the class SCHED_EXT is of the enclave, since there is one scheduler; unless it
// had that class before. Of threads that joined it is known what they had; one that they
// forked gets what a thread of its process had that joined with the same affinity, else
// what any such thread had, else the ordinary class.
//
// Thread safety: Start(), Note() and Stop() by one thread at a time, the rest by any.

#pragma once

#include <sys/types.h>

#include <memory>
#include <vector>

#include "native/scx.h"
#include "native/settings.h"
#include "yamanote/result.h"

namespace yamanote::native {

// The number of the class in the kernel's ABI.
inline constexpr uint32_t kSchedExt = 7;

class ScxGuardian {
 public:
  // `kept`: descriptors that are to live as long as it does. Errors: kResourceExhausted,
  // kInternal.
  static Result<std::unique_ptr<ScxGuardian>> Start(const ScxKernel& kernel,
                                                    uint32_t max_threads,
                                                    std::vector<int> kept);
  ~ScxGuardian() { Stop(); }
  ScxGuardian(const ScxGuardian&) = delete;
  ScxGuardian& operator=(const ScxGuardian&) = delete;

  // What `tid` had, and the affinity that it is about to get. False: there is no room.
  bool Note(pid_t process, pid_t tid, const TracedSettings& had,
            const uint64_t (&given)[kTracedMaskWords]);

  // All threads get back what they had; returns when they have. Again: nothing.
  void Stop();

  pid_t pid() const { return pid_; }
  bool alive() const;

 private:
  struct Had;
  struct Shared;
  struct Child;

  ScxGuardian() = default;

  Shared* shared_ = nullptr;
  std::size_t bytes_ = 0;
  std::vector<pid_t> before_;  // Had the class before.
  pid_t pid_ = -1;
  int descriptor_ = -1;  // A pidfd.
  int asked_ = -1;       // An eventfd.
};

}  // namespace yamanote::native
