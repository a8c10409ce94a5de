// memcached_reply.h - reads one answer of memcached's text protocol, in pieces.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace yamanote::load {

class MemcachedReply {
 public:
  enum class Progress : uint8_t {
    kMore,      // All of the input was read and the answer goes on.
    kAnswered,  // The answer ends where the input now begins.
    kRefused,   // It was ERROR, CLIENT_ERROR or SERVER_ERROR.
    kGarbage,   // Not the protocol.
  };

  // Reads from `input` and removes what it read. After kAnswered or kRefused the
  // object is ready for the next answer.
  Progress Read(std::string_view& input);

  // VALUE lines of the answer that was read last.
  uint32_t values() const { return last_values_; }

 private:
  Progress ReadLine(std::string_view line);
  Progress Finish(Progress progress);

  std::string line_;   // The start of a line; bounded by kMaxLine.
  uint64_t skip_ = 0;  // Bytes of a value (and its line end) still to come.
  uint32_t values_ = 0;
  uint32_t last_values_ = 0;
};

}  // namespace yamanote::load
