// system_error.h - turns an errno into an Error that says what to do about it.

#pragma once

#include <string>

#include "yamanote/result.h"

namespace yamanote::io {

// Returns the error for `error_number`, which `what` failed with: "connect to
// 127.0.0.1:80". The message is `what`, the system's words and, where there is
// one, the remedy. Any thread.
tl::unexpected<Error> SystemError(int error_number, std::string what);

}  // namespace yamanote::io
