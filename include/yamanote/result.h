// result.h - what a call that a caller can recover from returns.
//
// A Result<T> holds a T or an Error; it is tl::expected, which C++23 adopted as
// std::expected. Broken invariants are not errors: they CHECK and abort.
//
//   Result<TcpStream> stream = TcpStream::Connect(address);
//   if (!stream) return tl::unexpected(stream.error());

#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace yamanote {

enum class ErrorCode {
  kInvalidArgument,  // The value can never be accepted; the message names the remedy.
  kNotFound,         // The thing that was named does not exist.
  kPermissionDenied,  // The operating system refused.
  kResourceExhausted,  // A bound was reached: memory, descriptors, queue, threads.
  kDeadlineExceeded,  // The deadline passed before the call could finish.
  kCancelled,         // The stop token was triggered.
  kUnavailable,       // The peer or the runtime is gone; a retry may succeed.
  kClosed,            // The stream ended: nothing more can be read or written.
  kUnsupported,       // This machine or build cannot do it.
  kInternal,          // The operating system answered something unexpected.
};

// Returns the code's name as it is printed, for example "deadline exceeded".
std::string_view ToString(ErrorCode code);

// What went wrong, in words that name the field, the value, the limit and the
// remedy. `system_errno` is the errno behind it, 0 if there is none.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  int system_errno = 0;
};

template <typename T>
using Result = tl::expected<T, Error>;

// Returns an unexpected Error, ready to be returned from a Result function.
inline tl::unexpected<Error> MakeError(ErrorCode code, std::string message,
                                       int system_errno = 0) {
  return tl::unexpected<Error>(Error{code, std::move(message), system_errno});
}

}  // namespace yamanote
