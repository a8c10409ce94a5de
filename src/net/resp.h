// resp.h - RESP2, the protocol of Redis and its clients: where a request ends,
// its words, its class, its refusals and the 8-byte header of its datagrams.
//
//   *2\r\n$3\r\nGET\r\n$5\r\nkey-1\r\n     a request: an array of bulk strings
//   GET key-1\r\n                          the same as an inline command
//
// RespProtocol frames and classifies; a service takes the framed request apart
// with Words, so that both agree on where a word is. Inline commands are words
// between blanks, without quotes and escapes: they are for people and for
// `redis-benchmark -t ping`.
//
// Over UDP, which Redis does not have, a datagram is the header of memcached's
// datagrams and one whole command. The header's last field says what follows: 0
// a request, 1 an answer; so no answer can be taken for a request.
//
// Invariant: Next() depends on the bytes of the request only, not on how they
// arrived: byte by byte or at once gives the same frames.
//
// Source: "Redis serialization protocol specification" (redis.io), RESP2; in
// cases it leaves open, what Redis 7.0 answers.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "yamanote/service.h"

namespace yamanote::net::resp {

// Words of one command, its name included.
inline constexpr size_t kMaxWords = 1024;
// An inline command with its end of line.
inline constexpr size_t kMaxInlineBytes = 4096;
// A longer bulk string is an error of the protocol, as in Redis.
inline constexpr size_t kMaxBulkBytes = size_t{512} << 20;
// What the words of a command take beside its longest value, at most.
inline constexpr size_t kMaxOverheadBytes = 4096;
// The last field of a datagram's header.
inline constexpr uint16_t kRequestDatagram = 0;
inline constexpr uint16_t kReplyDatagram = 1;

enum class Verb : uint8_t {
  kUnknown,
  // What the store is asked for.
  kGet,
  kMget,
  kExists,
  kSet,
  kDelete,
  kRange,
  kScan,
  // What clients say beside it.
  kPing,
  kEcho,
  kQuit,
  kSelect,
  kHello,
  kClient,
  kCommand,
  kConfig,
  kInfo,
  kDbsize,
};

// The command that `word` names in capitals or not.
Verb FindVerb(std::string_view word);

// The words of a framed command, one after another.
class Words {
 public:
  // `frame`: as RespProtocol delimited it.
  explicit Words(std::string_view frame);

  // Words that Next() has not come to; an inline command counts them anew.
  size_t left() const;
  // Returns the next word. Nothing at the end, and for a value over the limit,
  // which the server threw away: withheld() is its length then, otherwise 0.
  std::optional<std::string_view> Next();
  size_t withheld() const { return withheld_; }

 private:
  std::string_view rest_;
  size_t left_ = 0;
  bool is_array_ = false;
  size_t withheld_ = 0;
};

struct Options {
  // Longest word that is read. If the last one is longer it is thrown away
  // unseen, and the service answers; elsewhere that is an error of the protocol.
  size_t max_value_bytes = size_t{1} << 20;
  // An MGET, EXISTS or DEL of more keys than this is of the class "scan".
  unsigned long_get_keys = 32;
};

inline constexpr ClassId kGetClass = 0;
inline constexpr ClassId kScanClass = 1;
inline constexpr ClassId kPutClass = 2;

class RespProtocol final : public Protocol {
 public:
  explicit RespProtocol(const Options& options = {}) : options_(options) {}

  Frame Next(Bytes input, Transport transport) const override;
  void Refuse(Bytes frame, Transport transport, Refusal why,
              Reply& reply) const override;
  std::vector<ClassOptions> Classes() const override;

 private:
  ClassId ClassOf(std::string_view frame) const;

  const Options options_;
};

}  // namespace yamanote::net::resp
