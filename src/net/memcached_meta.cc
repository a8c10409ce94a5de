// memcached_meta.cc - the flags of the meta commands.

#include "net/memcached_meta.h"

#include <algorithm>
#include <limits>

namespace yamanote::net::memcached {
namespace {

constexpr std::string_view kBadToken =
    "CLIENT_ERROR bad token in command line format\r\n";

// The flags that each command knows. P and L are for proxies: ignored.
std::string_view KnownFlags(Verb verb) {
  switch (verb) {
    case Verb::kMetaGet:
      return "bcCfhklOqstuvENRTPL";
    case Verb::kMetaSet:
      return "bcCEfFIkOqsTMNPL";
    case Verb::kMetaDelete:
      return "bCEIkOqTxPL";
    case Verb::kMetaArithmetic:
      return "bCENJDTMOqtcvkPL";
    default:
      return "b";
  }
}

int Base64Value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

template <typename Number>
bool ParseToken(std::string_view token, std::optional<Number>& value) {
  Number parsed = 0;
  if (!ParseNumber(token, parsed)) return false;
  value = parsed;
  return true;
}

}  // namespace

size_t DecodeBase64(std::string_view text, std::span<char> out) {
  if (text.empty() || text.size() % 4 != 0) return 0;
  size_t padding = 0;
  while (padding < 2 && text[text.size() - 1 - padding] == '=') ++padding;
  const size_t bytes = text.size() / 4 * 3 - padding;
  if (bytes > out.size()) return 0;
  size_t written = 0;
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 4; ++j) {
      const bool pad = i + j >= text.size() - padding;
      const int value = pad ? 0 : Base64Value(text[i + j]);
      if (value < 0) return 0;
      bits = bits << 6 | static_cast<uint32_t>(value);
    }
    for (int shift = 16; shift >= 0 && written < bytes; shift -= 8) {
      out[written++] = static_cast<char>(bits >> shift & 0xff);
    }
  }
  return bytes;
}

bool MetaCommand::Has(char letter) const {
  return std::ranges::any_of(
      flags(), [&](std::string_view flag) { return flag[0] == letter; });
}

void MetaCommand::ParseFlag(Verb verb, std::string_view flag) {
  const std::string_view token = flag.substr(1);
  if (Has(flag[0])) {
    error = "CLIENT_ERROR duplicate flag\r\n";
    return;
  }
  if (KnownFlags(verb).find(flag[0]) == std::string_view::npos) {
    error = "CLIENT_ERROR invalid flag\r\n";
    return;
  }
  flags_[flag_count_++] = flag;
  bool good = true;
  switch (flag[0]) {
    case 'b':
      binary_key = true;
      break;
    case 'q':
      quiet = true;
      break;
    case 'F':
      good = ParseNumber(token, client_flags);
      break;
    case 'C':
      good = ParseToken(token, compare_cas);
      break;
    case 'E':
      good = ParseToken(token, new_cas);
      break;
    case 'T':
      good = ParseToken(token, exptime);
      break;
    case 'N':
      good = ParseToken(token, vivify_exptime);
      break;
    case 'R':
      good = ParseToken(token, recache_exptime);
      break;
    case 'J':
      if (!ParseNumber(token, initial)) {
        error = "CLIENT_ERROR invalid numeric initial value\r\n";
      }
      break;
    case 'D':
      if (!ParseNumber(token, delta)) {
        error = "CLIENT_ERROR invalid numeric delta value\r\n";
      }
      break;
    case 'M':
      if (token.size() != 1) {
        error = "CLIENT_ERROR incorrect length for M token\r\n";
      } else {
        mode = token[0];
      }
      break;
    case 'O':
      if (token.size() > kMaxOpaqueBytes) {
        error = "CLIENT_ERROR opaque token too long\r\n";
      }
      break;
    default:
      break;
  }
  if (!good) error = kBadToken;
}

void MetaCommand::ParseKey() {
  if (!binary_key) {
    key_bytes_ = sent_key.copy(key_.data(), key_.size());
    return;
  }
  key_bytes_ = DecodeBase64(sent_key, key_);
  if (key_bytes_ == 0) error = "CLIENT_ERROR error decoding key\r\n";
}

MetaCommand ParseMeta(Verb verb, Tokens tokens) {
  MetaCommand command;
  command.sent_key = tokens.Next();
  if (command.sent_key.empty() || command.sent_key.size() > kMaxKeyBytes) {
    command.error = kBadLine;
    return command;
  }
  if (verb == Verb::kMetaSet) {
    int64_t bytes = 0;
    if (!ParseNumber(tokens.Next(), bytes) || bytes < 0 ||
        bytes > std::numeric_limits<int32_t>::max() - 2) {
      command.error = kBadLine;
      return command;
    }
    command.value_bytes = static_cast<size_t>(bytes);
  }
  if (tokens.Count(kMaxMetaFlags + 1) > kMaxMetaFlags) {
    command.error = "CLIENT_ERROR options flags are too long\r\n";
    return command;
  }
  for (std::string_view flag = tokens.Next();
       !flag.empty() && command.error.empty(); flag = tokens.Next()) {
    command.ParseFlag(verb, flag);
  }
  if (command.error.empty()) command.ParseKey();
  return command;
}

}  // namespace yamanote::net::memcached
