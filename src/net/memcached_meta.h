// memcached_meta.h - the flags of the meta commands: mg, ms, md, ma.
//
// A meta command is a verb, a key and flags of one letter, each with a token
// behind it or none. ParseMeta() reads them all before anything is done, so
// that a bad flag changes nothing; the service then walks over `flags` once
// more to answer in the order of the request.
//
// Source: doc/protocol.txt of memcached 1.6, "Meta Commands".

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "net/memcached.h"

namespace yamanote::net::memcached {

inline constexpr size_t kMaxMetaFlags = 17;
inline constexpr size_t kMaxOpaqueBytes = 31;

struct MetaCommand {
  std::string_view error;     // Not empty: answer this, change nothing.
  std::string_view sent_key;  // As sent; base64 if the b flag is there.
  std::string_view key() const { return {key_.data(), key_bytes_}; }

  // Of ms: the length that its line gives.
  size_t value_bytes = 0;

  // The flags as sent, letter and token.
  std::span<const std::string_view> flags() const {
    return {flags_.data(), flag_count_};
  }
  bool Has(char letter) const;

  bool binary_key = false;                 // b
  bool quiet = false;                      // q
  char mode = 0;                           // M, 0 if absent
  uint32_t client_flags = 0;               // F
  std::optional<uint64_t> compare_cas;     // C
  std::optional<uint64_t> new_cas;         // E
  std::optional<int64_t> exptime;          // T
  std::optional<int64_t> vivify_exptime;   // N
  std::optional<int64_t> recache_exptime;  // R
  uint64_t initial = 0;                    // J
  uint64_t delta = 1;                      // D

 private:
  friend MetaCommand ParseMeta(Verb verb, Tokens tokens);
  void ParseFlag(Verb verb, std::string_view flag);
  void ParseKey();

  std::array<char, kMaxKeyBytes> key_;
  size_t key_bytes_ = 0;
  std::array<std::string_view, kMaxMetaFlags> flags_;
  size_t flag_count_ = 0;
};

// Parses what follows the verb of mg, ms, md, ma or me.
MetaCommand ParseMeta(Verb verb, Tokens tokens);

// Decodes base64 with padding into `out`; returns the number of bytes, 0 if
// `text` is empty, malformed or decodes to more than `out` holds.
size_t DecodeBase64(std::string_view text, std::span<char> out);

// Calls `append` with the base64 of `bytes`, four characters at a time.
template <typename Append>
void EncodeBase64(std::string_view bytes, Append&& append) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = bytes.size() - i < 3 ? bytes.size() - i : 3;
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j) {
      bits = bits << 8 | (j < count ? static_cast<uint8_t>(bytes[i + j]) : 0);
    }
    const char group[4] = {kAlphabet[bits >> 18], kAlphabet[bits >> 12 & 63],
                           count > 1 ? kAlphabet[bits >> 6 & 63] : '=',
                           count > 2 ? kAlphabet[bits & 63] : '='};
    append(std::string_view(group, 4));
  }
}

}  // namespace yamanote::net::memcached
