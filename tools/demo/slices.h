// slices.h - how a server's slices ended, by its own count.
//
// `yamanote serve --json` prints its counters when it ends: all slices that were
// over, and those of them that ended at a probe that the task had not asked for. The
// rest ended at voluntary points, where the service calls CheckPreempt().

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "yamanote/result.h"

namespace yamanote::demo {

// Of one server, from its start to its end.
struct SliceEnds {
  std::string name{};       // Of the contender.
  std::string mechanism{};  // In use: "probe", "none", ...
  uint64_t at_probes = 0;
  uint64_t voluntary = 0;
  std::string unknown{};  // Why there are no counts; "" if there are.
};

// Returns the word behind "preemption" in a ready line of `yamanote serve`;
// "unknown" if there is none.
std::string MechanismOf(std::string_view ready_line);

// Reads the counts from a server's final line of statistics. kInvalidArgument if
// it is something else.
Result<SliceEnds> ReadSliceEnds(std::string_view final_line);

// "12 at probes, 34 at voluntary points", or why that is not known.
std::string CountsOf(const SliceEnds& ends);

// One sentence, a server after the other; "" if there is none.
std::string SliceSentence(const std::vector<SliceEnds>& slices);

// The same as a table for a terminal, ending in a newline; "" if there is none.
std::string SliceTable(const std::vector<SliceEnds>& slices);

}  // namespace yamanote::demo
