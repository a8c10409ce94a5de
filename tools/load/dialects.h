// dialects.h - the protocols of the stores that wire_kv.cc talks to.
//
// A dialect says how requests are written, what reads an answer, and how many
// values the answer to a whole request has.

#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>

#include "tools/load/memcached_reply.h"
#include "tools/load/resp_reply.h"
#include "tools/load/workload.h"

namespace yamanote::load {

inline constexpr size_t kKeyBytes = 12;

// "key-00000042".
inline void AppendKey(std::string& out, uint32_t key) {
  char text[kKeyBytes] = {'k', 'e', 'y', '-'};
  for (size_t i = kKeyBytes - 1; i >= 4; --i, key /= 10)
    text[i] = static_cast<char>('0' + key % 10);
  out.append(text, sizeof(text));
}

// memcached's text protocol.
class MemcachedDialect {
 public:
  using Reply = MemcachedReply;

  explicit MemcachedDialect(uint32_t value_bytes)
      : set_tail_(fmt::format(" 0 0 {}\r\n{}\r\n", value_bytes,
                              std::string(value_bytes, 'v'))) {}

  void AppendGet(std::span<const uint32_t> keys, std::string& out) const {
    out.append("get");
    for (const uint32_t key : keys) {
      out.push_back(' ');
      AppendKey(out, key);
    }
    out.append("\r\n");
  }
  void AppendSet(uint32_t key, std::string& out) const {
    out.append("set ");
    AppendKey(out, key);
    out.append(set_tail_);
  }
  // It has no scans; the workload does not ask for one.
  void AppendScan(uint32_t, uint32_t, std::string&) const {}

 private:
  const std::string set_tail_;
};

// RESP2: `yamanote serve rocksdb`, and Redis but for the scans.
class RespDialect {
 public:
  using Reply = RespReply;

  explicit RespDialect(uint32_t value_bytes)
      : set_tail_(fmt::format("\r\n${}\r\n{}\r\n", value_bytes,
                              std::string(value_bytes, 'v'))) {}

  void AppendGet(std::span<const uint32_t> keys, std::string& out) const {
    if (keys.size() == 1) {
      out.append("*2\r\n$3\r\nGET");
    } else {
      fmt::format_to(std::back_inserter(out), "*{}\r\n$4\r\nMGET",
                     keys.size() + 1);
    }
    for (const uint32_t key : keys) {
      out.append("\r\n$12\r\n");
      AppendKey(out, key);
    }
    out.append("\r\n");
  }
  void AppendSet(uint32_t key, std::string& out) const {
    out.append("*3\r\n$3\r\nSET\r\n$12\r\n");
    AppendKey(out, key);
    out.append(set_tail_);
  }
  void AppendScan(uint32_t start, uint32_t keys, std::string& out) const {
    const std::string count = fmt::format("{}", keys);
    out.append("*3\r\n$5\r\nRANGE\r\n$12\r\n");
    AppendKey(out, start);
    fmt::format_to(std::back_inserter(out), "\r\n${}\r\n{}\r\n", count.size(),
                   count);
  }

 private:
  const std::string set_tail_;
};

}  // namespace yamanote::load
