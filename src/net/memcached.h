// memcached.h - the memcached text protocol: where a request ends, what its
// command line says, and the 8-byte header of its datagrams.
//
// MemcachedProtocol frames and classifies; a service takes the framed request
// apart with the same functions (Tokens, ParseStorage), so that both always
// agree on how long a request is. What is stored, and what is answered to a
// request that ran, is the service's business (apps/kv).
//
// Invariant: Next() depends on the bytes of the request only, not on how they
// arrived: byte by byte or at once gives the same frames.
//
// Source: doc/protocol.txt of memcached 1.6; where that leaves a case open,
// what memcached 1.6.18 was seen to answer.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "yamanote/service.h"

namespace yamanote::net::memcached {

inline constexpr size_t kMaxKeyBytes = 250;
// Every command line but those that list keys; longer ones are refused.
inline constexpr size_t kMaxLineBytes = 2048;
inline constexpr size_t kUdpHeaderBytes = 8;
// Longest datagram of a reply, header included.
inline constexpr size_t kMaxDatagramBytes = 1400;
// The answer to a command line that breaks its command's syntax.
inline constexpr std::string_view kBadLine =
    "CLIENT_ERROR bad command line format\r\n";

enum class Verb : uint8_t {
  kUnknown,
  // Retrieval: one line of keys.
  kGet,
  kGets,
  kGat,
  kGats,
  // Storage: a line and a data block.
  kSet,
  kAdd,
  kReplace,
  kAppend,
  kPrepend,
  kCas,
  kDelete,
  kIncr,
  kDecr,
  kTouch,
  kStats,
  kVersion,
  kVerbosity,
  kFlushAll,
  kQuit,
  // Meta commands; kMetaSet has a data block too.
  kMetaNoop,
  kMetaGet,
  kMetaSet,
  kMetaDelete,
  kMetaArithmetic,
  kMetaDebug,
};

Verb FindVerb(std::string_view word);

constexpr bool IsRetrieval(Verb verb) {
  return verb >= Verb::kGet && verb <= Verb::kGats;
}
constexpr bool IsStorage(Verb verb) {
  return verb >= Verb::kSet && verb <= Verb::kCas;
}

// The words of a command line, which any number of spaces separate.
class Tokens {
 public:
  explicit Tokens(std::string_view line) : rest_(line) {}

  // Returns the next word, an empty one at the end of the line.
  std::string_view Next() {
    const size_t begin = rest_.find_first_not_of(' ');
    if (begin == std::string_view::npos) {
      rest_ = {};
      return {};
    }
    rest_.remove_prefix(begin);
    const std::string_view word = rest_.substr(0, rest_.find(' '));
    rest_.remove_prefix(word.size());
    return word;
  }

  // Returns how many words are left, counting up to `limit` only.
  size_t Count(size_t limit) const;

 private:
  std::string_view rest_;
};

// A command line without its end, and its length with it.
struct Line {
  std::string_view text;
  size_t bytes = 0;
};

// Returns the first line of `input`, which "\n" or "\r\n" ends; nothing if no
// end of line is there.
std::optional<Line> ReadLine(std::string_view input);

// Numbers as the protocol writes them; false if `text` is none or out of range.
bool ParseNumber(std::string_view text, uint64_t& value);
bool ParseNumber(std::string_view text, uint32_t& value);
bool ParseNumber(std::string_view text, int64_t& value);

// What a storage command's line asks for, data block excluded.
struct StorageLine {
  std::string_view error;  // Not empty: no data block follows; answer this.
  std::string_view key;
  uint32_t flags = 0;
  int64_t exptime = 0;
  uint64_t cas = 0;  // Of kCas.
  size_t value_bytes = 0;
  bool noreply = false;  // Meaningful even with an error.
};

// Parses what follows the verb of a storage command.
StorageLine ParseStorage(Verb verb, Tokens tokens);

// Returns the number of bytes of the data block, its "\r\n" included, that
// follows `line`; 0 if none does.
size_t DataBlockBytes(std::string_view line);

struct Options {
  // Longest value that is read; the data of longer ones is thrown away unseen.
  size_t max_value_bytes = size_t{1} << 20;
  // A get of more keys than this is of class 1, "long".
  unsigned long_get_keys = 32;
};

inline constexpr ClassId kShortClass = 0;
inline constexpr ClassId kLongClass = 1;

class MemcachedProtocol final : public Protocol {
 public:
  explicit MemcachedProtocol(const Options& options = {}) : options_(options) {}

  // UDP: a datagram may hold several requests; they are one frame, which is
  // long if one of them is.
  Frame Next(Bytes input, Transport transport) const override;
  void Refuse(Bytes frame, Transport transport, Refusal why,
              Reply& reply) const override;
  std::vector<ClassOptions> Classes() const override;

 private:
  Frame NextCommand(std::string_view input) const;

  const Options options_;
};

// The frame header of memcached's datagrams; all fields are big-endian.
struct UdpHeader {
  uint16_t request = 0;   // The client's number for the request; echoed.
  uint16_t sequence = 0;  // Of this datagram within the message, from 0.
  uint16_t total = 0;     // Datagrams of the message.
  uint16_t last = 0;      // Reserved in memcached; other protocols use it.
};

// Returns the header at the start of `datagram`, nothing if it is too short.
std::optional<UdpHeader> ReadUdpHeader(Bytes datagram);

// Appends `body` to `reply` as the datagrams of the answer to `request`; `last`
// goes into each header. An empty body appends nothing. Returns false, with
// nothing appended, if it does not fit in the reply.
bool AppendDatagrams(uint16_t request, Bytes body, Reply& reply,
                     uint16_t last = 0);

// The same bytes, as text and back.
inline std::string_view AsText(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace yamanote::net::memcached
