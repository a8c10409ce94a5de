// machine.h - counts the cache lines that move between simulated cores.
//
// Code compiled with -fsanitize=thread calls a function at every load and
// store. Here those functions are ours (machine.cc): they do what was asked and
// tell the machine, which keeps for every line the cores that hold it (MESI,
// unbounded caches). One kernel thread plays all cores in turn and says whose
// turn it is; so the counts are exact and the same on every computer.
//
//   move        a core loads or stores in a line that only others hold: its
//               content crosses between caches
//   invalidate  a core stores in a line that it holds and others too: only the
//               permission crosses
//
// The first touch of a line by anyone is neither. Not for real caches' limits,
// prefetchers or store buffers.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bench {

struct Crossings {
  uint64_t moves = 0;
  uint64_t invalidations = 0;
  uint64_t total() const { return moves + invalidations; }
};

class Machine {
 public:
  enum class Access : uint8_t { kLoad, kStore };

  // What instrumented code does from here on is `core`'s doing. 0 .. 63.
  void PlayCore(unsigned core) { core_ = core; }

  // Calls the lines of [begin, begin + bytes) `name`; what has no name is
  // "other".
  void Name(const void* begin, size_t bytes, const std::string& name);

  void Touch(const volatile void* address, size_t bytes, Access access);

  // Forgets the counts, keeps the caches.
  void ResetCounts() { crossings_.clear(); }

  // By the object's name and the core that asked for the line.
  const std::map<std::pair<std::string, unsigned>, Crossings>& crossings()
      const {
    return crossings_;
  }

 private:
  const std::string& NameOf(uintptr_t line) const;

  unsigned core_ = 0;
  // Line: a bit for each core.
  std::unordered_map<uintptr_t, uint64_t> holders_;
  std::unordered_map<uintptr_t, std::string> names_;
  std::map<std::pair<std::string, unsigned>, Crossings> crossings_;
};

// The machine that instrumented code reports to; nullptr: nobody counts.
extern Machine* current_machine;

}  // namespace bench
