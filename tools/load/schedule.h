// schedule.h - when each request is due, drawn before the run from the seed.
//
// The load is open: a request is due at its time whatever happened to those
// before it. The schedule does not depend on the number of threads; a connection
// belongs to the thread (connection % threads).

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tools/load/workload.h"
#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::load {

// Requests recorded in one run, 32 bytes each.
inline constexpr uint64_t kMaxSamples = 40'000'000;

enum class Status : uint8_t {
  kPlanned,  // Not sent (yet).      -> kSent
  kSent,     // Given to the kernel. -> kAnswered, kRefused
  kAnswered,
  kRefused,  // Answered by the protocol's refusal or error.
};

// One request, from its plan to its answer. Times are nanoseconds from the start
// of the run.
struct Sample {
  int64_t intended_ns = 0;
  int64_t sent_ns = -1;
  int64_t received_ns = -1;
  uint32_t service_ns = 0;  // Spin: to burn. Kv: seed of the keys.
  uint16_t connection = 0;
  uint8_t request_class = 0;
  Status status = Status::kPlanned;
};

struct Arrivals {
  enum class Kind : uint8_t { kPoisson, kFixed, kBurst };
  Kind kind = Kind::kPoisson;
  unsigned burst = 1;  // kBurst: requests due at the same instant.

  // "poisson", "fixed" or "burst:N": bursts of N at Poisson times.
  static Result<Arrivals> Parse(std::string_view text);
};

struct ScheduleOptions {
  double rate_rps = 0;
  Duration length{};  // Warm-up included.
  Arrivals arrivals{};
  unsigned connections = 1;
  unsigned threads = 1;
  uint64_t seed = 1;
};

// Returns each thread's requests in the order they are due. kInvalidArgument if
// there would be none, or more than kMaxSamples.
Result<std::vector<std::vector<Sample>>> BuildSchedule(
    const ScheduleOptions& options, const Workload& workload);

}  // namespace yamanote::load
