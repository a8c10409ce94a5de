// messages.h - reads what applications send, and trusts none of it.
//
// Pure. Every error names the field, its value, the limit and the remedy, and is what
// the application is told; `system_errno` is what Welcome::error becomes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "arbiter/abi.h"
#include "arbiter/arbiter.h"
#include "yamanote/result.h"

namespace yamanote::arbiter {

// The longest message that an application may send.
inline constexpr std::size_t kLongestMessage = sizeof(Hello) > sizeof(Workers)
                                                   ? sizeof(Hello)
                                                   : sizeof(Workers);

// Of a message of the right length for its kind; kWelcome and kText are none that an
// application sends.
Result<Kind> ReadKind(std::span<const std::byte> message);

// The application as it wants to be; `most` is not more than `cores`. `signals` is left
// empty. Requires: ReadKind() says kHello.
Result<Applicant> ReadHello(std::span<const std::byte> message, unsigned cores);

// Thread ids, by core, none below 0. Requires: ReadKind() says kWorkers.
Result<std::array<int32_t, kMostCores>> ReadWorkers(
    std::span<const std::byte> message, unsigned cores);

// "yes\x07" -> "yes?": for messages about what is not printable. At most 40 characters.
std::string Printable(std::string_view text);

}  // namespace yamanote::arbiter
