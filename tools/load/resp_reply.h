// resp_reply.h - reads one answer of RESP2, the protocol of Redis, in pieces.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tools/load/memcached_reply.h"

namespace yamanote::load {

class RespReply {
 public:
  using Progress = MemcachedReply::Progress;

  // Reads from `input` and removes what it read. After kAnswered or kRefused the
  // object is ready for the next answer. An answer with an error in it is
  // kRefused.
  Progress Read(std::string_view& input);

  // Bulk strings, empty ones but no nulls, of the answer that was read last.
  uint32_t values() const { return last_values_; }

 private:
  bool ReadLine(std::string_view line);
  Progress Finish();

  std::string line_;   // The start of a line; bounded by kMaxLine.
  uint64_t skip_ = 0;  // Bytes of a string (and its line end) still to come.
  uint64_t left_ = 1;  // Values still to come; arrays add theirs.
  bool refused_ = false;
  uint32_t values_ = 0;
  uint32_t last_values_ = 0;
};

}  // namespace yamanote::load
