// hints.h - what a program tells whoever schedules its kernel threads.
//
// A program that `yamanote native run` runs may say, for each of its threads, what class of
// work it does and by when. It costs some stores into shared memory and gettid(2); the policy
// reads them when the thread wakes next, or gives way. Nothing has to be said, and a program
// that says nothing is not changed.
//
//   Result<Hints> hints = Hints::Open();     // fails outside an enclave: go on without
//   if (hints) hints->Set({.request_class = 1, .due = std::chrono::milliseconds(2)});
//
// Hints are the enclave's own business: what one program says wrongly harms the threads of its
// enclave and no others.
//
// Thread safety: Set() and Clear() by any thread, for itself.
//
// Source: Humphries et al., "ghOSt", SOSP 2021, section 3.1 (applications give hints to the
// agent through shared memory).

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "yamanote/result.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote {

struct Hint {
  // One of the enclave's classes (`--class`), in their order; one beyond them counts as 0.
  ClassId request_class = 0;
  // Its share relative to others, 1 .. 10000; 0: the one that it has anyway.
  uint16_t weight = 0;
  // By when it is to have done what it does now, by Clock::now(); one that has passed counts
  // as none.
  Instant deadline = kNever;
  // Without `deadline`: how long after each wake-up that is, 1 us or more; 0: none.
  Duration due{0};

  friend constexpr bool operator==(const Hint&, const Hint&) = default;
};

class Hints {
 public:
  // Where $YAMANOTE_ENCLAVE, which `yamanote native run` sets, says. Errors: kNotFound: it is
  // not set; kUnavailable: nobody answers there; kPermissionDenied: not this user;
  // kUnsupported: another version.
  static Result<Hints> Open();
  // `path`: the enclave's socket, NAME.sock in the folder of `yamanote native`.
  static Result<Hints> Open(const std::string& path);

  Hints(Hints&& other) noexcept;
  Hints& operator=(Hints&& other) noexcept;
  ~Hints();

  // What the calling thread does from now on. Errors: kInvalidArgument, with field, value,
  // limit and remedy; kResourceExhausted: there is no room for this thread's hint.
  Result<void> Set(const Hint& hint);
  // Takes back what the calling thread has said.
  void Clear();

 private:
  Hints(void* table, std::size_t bytes, uint32_t buckets)
      : table_(table), bytes_(bytes), buckets_(buckets) {}

  void* table_;
  std::size_t bytes_;
  uint32_t buckets_;
};

}  // namespace yamanote
