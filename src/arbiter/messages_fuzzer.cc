// messages_fuzzer.cc - whatever is sent, reading it ends, and what was read is sound.

#include <cstddef>
#include <cstdint>
#include <span>

#include "arbiter/messages.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace yamanote::arbiter;
  // The first byte says how many cores there are.
  if (size == 0) return 0;
  const unsigned cores = 1 + data[0];
  const std::span message(reinterpret_cast<const std::byte*>(data + 1),
                          size - 1);
  const auto kind = ReadKind(message);
  if (!kind) {
    YAMANOTE_CHECK(
        !kind.error().message.empty() && kind.error().system_errno != 0,
        "an error says something");
    return 0;
  }
  if (*kind == Kind::kHello) {
    const auto applicant = ReadHello(message, cores);
    if (!applicant) {
      YAMANOTE_CHECK(applicant.error().message.size() < 512,
                     "an error fits Welcome");
      return 0;
    }
    const Limits& limits = applicant->limits;
    YAMANOTE_CHECK(applicant->policy != nullptr && !applicant->name.empty() &&
                       applicant->name == Printable(applicant->name),
                   "it has a name and a policy");
    YAMANOTE_CHECK(limits.most >= 1 && limits.most <= cores &&
                       limits.guaranteed <= limits.most &&
                       !(limits.best_effort && limits.guaranteed > 0),
                   "its limits are possible");
    for (unsigned core = cores; core < kMostCores; ++core)
      YAMANOTE_CHECK(!applicant->held[core], "it holds cores that there are");
  } else if (*kind == Kind::kWorkers) {
    const auto tids = ReadWorkers(message, cores);
    if (!tids) return 0;
    for (unsigned core = 0; core < kMostCores; ++core)
      YAMANOTE_CHECK((*tids)[core] >= 0 && (core < cores || (*tids)[core] == 0),
                     "its threads are on cores that there are");
  }
  return 0;
}
