// memcached.cc - framing, classes, refusals and datagrams of the text protocol.

#include "net/memcached.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <utility>

namespace yamanote::net::memcached {
namespace {

constexpr std::string_view kUnknownCommand = "ERROR\r\n";

constexpr std::pair<std::string_view, Verb> kVerbs[] = {
    {"get", Verb::kGet},
    {"set", Verb::kSet},
    {"mg", Verb::kMetaGet},
    {"ms", Verb::kMetaSet},
    {"md", Verb::kMetaDelete},
    {"ma", Verb::kMetaArithmetic},
    {"mn", Verb::kMetaNoop},
    {"me", Verb::kMetaDebug},
    {"gets", Verb::kGets},
    {"gat", Verb::kGat},
    {"gats", Verb::kGats},
    {"add", Verb::kAdd},
    {"replace", Verb::kReplace},
    {"append", Verb::kAppend},
    {"prepend", Verb::kPrepend},
    {"cas", Verb::kCas},
    {"delete", Verb::kDelete},
    {"incr", Verb::kIncr},
    {"decr", Verb::kDecr},
    {"touch", Verb::kTouch},
    {"stats", Verb::kStats},
    {"version", Verb::kVersion},
    {"verbosity", Verb::kVerbosity},
    {"flush_all", Verb::kFlushAll},
    {"quit", Verb::kQuit},
};

// A data block's length as the protocol allows it: a 32-bit signed number with
// room for the "\r\n".
bool ParseLength(std::string_view text, size_t& bytes) {
  int64_t value = 0;
  if (!ParseNumber(text, value)) return false;
  if (value < 0 || value > std::numeric_limits<int32_t>::max() - 2)
    return false;
  bytes = static_cast<size_t>(value);
  return true;
}

template <typename Number>
bool ParseDecimal(std::string_view text, Number& value) {
  const char* const end = text.data() + text.size();
  Number parsed = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, parsed);
  if (error != std::errc() || stop != end) return false;
  value = parsed;
  return true;
}

uint16_t ReadBigEndian16(Bytes bytes, size_t at) {
  return static_cast<uint16_t>(std::to_integer<unsigned>(bytes[at]) << 8 |
                               std::to_integer<unsigned>(bytes[at + 1]));
}

std::array<std::byte, kUdpHeaderBytes> MakeUdpHeader(const UdpHeader& header) {
  const auto high = [](uint16_t value) { return std::byte(value >> 8); };
  const auto low = [](uint16_t value) { return std::byte(value & 0xff); };
  return {high(header.request), low(header.request), high(header.sequence),
          low(header.sequence), high(header.total),  low(header.total),
          high(header.last),    low(header.last)};
}

// Whether `line` asks for no answer. Retrievals have no such word, and the meta
// commands' q flag doesn't cover errors.
bool IsNoreply(std::string_view line) {
  const size_t end = line.find_last_not_of(' ');
  if (end == std::string_view::npos) return false;
  line = line.substr(0, end + 1);
  const Verb verb = FindVerb(Tokens(line).Next());
  return !IsRetrieval(verb) && verb < Verb::kMetaNoop &&
         line.ends_with(" noreply");
}

// Whether a datagram holds an answer rather than a command. Commands begin with
// a small letter, answers with a capital, a digit or one of RESP's marks, and RESP's
// have a last word in their header. Who answers an answer, and be it with ERROR, may
// do so for ever: a sender's address is easily forged.
bool IsReply(Bytes datagram) {
  const std::optional<UdpHeader> header = ReadUdpHeader(datagram);
  if (header && header->last != 0) return true;
  if (datagram.size() <= kUdpHeaderBytes) return false;
  const char first = static_cast<char>(datagram[kUdpHeaderBytes]);
  return (first >= 'A' && first <= 'Z') || (first >= '0' && first <= '9') ||
         std::string_view("+-:$*").find(first) != std::string_view::npos;
}

std::string_view RefusalText(Refusal why, Transport transport) {
  switch (why) {
    case Refusal::kOverloaded:
      return "SERVER_ERROR out of capacity\r\n";
    case Refusal::kTooLarge:
      return "SERVER_ERROR request too large\r\n";
    case Refusal::kShutdown:
      return "SERVER_ERROR shutting down\r\n";
    case Refusal::kMalformed:
      break;
  }
  return transport == Transport::kUdp
             ? "SERVER_ERROR multi-packet request not supported\r\n"
             : "CLIENT_ERROR line too long\r\n";
}

}  // namespace

Verb FindVerb(std::string_view word) {
  for (const auto& [name, verb] : kVerbs) {
    if (name == word) return verb;
  }
  return Verb::kUnknown;
}

size_t Tokens::Count(size_t limit) const {
  Tokens copy(*this);
  size_t count = 0;
  while (count < limit && !copy.Next().empty()) ++count;
  return count;
}

std::optional<Line> ReadLine(std::string_view input) {
  const size_t end = input.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const bool carriage_return = end > 0 && input[end - 1] == '\r';
  return Line{input.substr(0, end - (carriage_return ? 1 : 0)), end + 1};
}

bool ParseNumber(std::string_view text, uint64_t& value) {
  return ParseDecimal(text, value);
}
bool ParseNumber(std::string_view text, uint32_t& value) {
  return ParseDecimal(text, value);
}
bool ParseNumber(std::string_view text, int64_t& value) {
  return ParseDecimal(text, value);
}

StorageLine ParseStorage(Verb verb, Tokens tokens) {
  StorageLine line;
  const size_t fields = verb == Verb::kCas ? 5 : 4;
  const size_t words = tokens.Count(fields + 2);
  if (words < fields || words > fields + 1) {
    line.error = kUnknownCommand;
    return line;
  }
  line.key = tokens.Next();
  const std::string_view flags = tokens.Next();
  const std::string_view exptime = tokens.Next();
  const std::string_view length = tokens.Next();
  const std::string_view cas = verb == Verb::kCas ? tokens.Next() : "0";
  line.noreply = tokens.Next() == "noreply";
  if (line.key.size() > kMaxKeyBytes || !ParseNumber(flags, line.flags) ||
      !ParseNumber(exptime, line.exptime) || !ParseNumber(cas, line.cas) ||
      !ParseLength(length, line.value_bytes)) {
    line.error = kBadLine;
  }
  return line;
}

size_t DataBlockBytes(std::string_view line) {
  Tokens tokens(line);
  const Verb verb = FindVerb(tokens.Next());
  if (IsStorage(verb)) {
    const StorageLine storage = ParseStorage(verb, tokens);
    return storage.error.empty() ? storage.value_bytes + 2 : 0;
  }
  if (verb != Verb::kMetaSet) return 0;
  const std::string_view key = tokens.Next();
  size_t bytes = 0;
  if (key.size() > kMaxKeyBytes || !ParseLength(tokens.Next(), bytes)) return 0;
  return bytes + 2;
}

Frame MemcachedProtocol::NextCommand(std::string_view input) const {
  const std::optional<Line> line = ReadLine(input);
  if (!line) {
    const bool lists_keys = IsRetrieval(FindVerb(Tokens(input).Next()));
    if (input.size() <= kMaxLineBytes) return {};
    if (!lists_keys) return {.status = Frame::Status::kMalformed};
    return {.until = std::byte{'\n'}};
  }
  Tokens tokens(line->text);
  const Verb verb = FindVerb(tokens.Next());
  if (IsRetrieval(verb)) {
    if (verb == Verb::kGat || verb == Verb::kGats) tokens.Next();
    const size_t limit = size_t{options_.long_get_keys} + 1;
    const bool is_long = tokens.Count(limit) == limit;
    return {.status = Frame::Status::kRequest,
            .size = line->bytes,
            .request_class = is_long ? kLongClass : kShortClass};
  }
  if (line->bytes > kMaxLineBytes) return {.status = Frame::Status::kMalformed};

  const size_t data = DataBlockBytes(line->text);
  if (data > options_.max_value_bytes + 2) {
    return {
        .status = Frame::Status::kRequest, .size = line->bytes, .skip = data};
  }
  const size_t size = line->bytes + data;
  if (input.size() < size) return {.size = size};
  return {.status = Frame::Status::kRequest, .size = size};
}

Frame MemcachedProtocol::Next(Bytes input, Transport transport) const {
  if (transport == Transport::kTcp) return NextCommand(AsText(input));

  const std::optional<UdpHeader> header = ReadUdpHeader(input);
  Frame frame{.status = Frame::Status::kRequest, .size = input.size()};
  if (!header || header->total != 1 || IsReply(input)) {
    frame.status = Frame::Status::kMalformed;
    return frame;
  }
  std::string_view rest = AsText(input.subspan(kUdpHeaderBytes));
  while (!rest.empty()) {
    const Frame next = NextCommand(rest);
    if (next.status != Frame::Status::kRequest) break;
    frame.request_class = std::max(frame.request_class, next.request_class);
    rest.remove_prefix(std::min(rest.size(), next.size + next.skip));
  }
  return frame;
}

void MemcachedProtocol::Refuse(Bytes frame, Transport transport, Refusal why,
                               Reply& reply) const {
  const std::string_view text = RefusalText(why, transport);
  if (transport == Transport::kUdp) {
    const std::optional<UdpHeader> header = ReadUdpHeader(frame);
    if (!header) return;  // Nobody to answer to: the number is missing.
    if (IsReply(frame)) return;
    AppendDatagrams(header->request, std::as_bytes(std::span(text)), reply);
    return;
  }
  const std::optional<Line> line = ReadLine(AsText(frame));
  const bool is_quit =
      line && FindVerb(Tokens(line->text).Next()) == Verb::kQuit;
  const bool lost = why == Refusal::kMalformed || why == Refusal::kTooLarge;
  // Otherwise the server skips the whole frame, so the next one is in sync.
  if (lost || is_quit) reply.CloseAfterSend();
  if (is_quit) return;
  if (line && IsNoreply(line->text)) return;
  reply.Append(text);
}

std::vector<ClassOptions> MemcachedProtocol::Classes() const {
  return {ClassOptions{.name = "short"},
          ClassOptions{.name = "long", .slo = std::chrono::milliseconds(1)}};
}

std::optional<UdpHeader> ReadUdpHeader(Bytes datagram) {
  if (datagram.size() < kUdpHeaderBytes) return std::nullopt;
  return UdpHeader{ReadBigEndian16(datagram, 0), ReadBigEndian16(datagram, 2),
                   ReadBigEndian16(datagram, 4), ReadBigEndian16(datagram, 6)};
}

bool AppendDatagrams(uint16_t request, Bytes body, Reply& reply,
                     uint16_t last) {
  constexpr size_t kBodyBytes = kMaxDatagramBytes - kUdpHeaderBytes;
  const size_t total = (body.size() + kBodyBytes - 1) / kBodyBytes;
  if (total > std::numeric_limits<uint16_t>::max()) return false;
  if (!reply.Reserve(body.size() + total * kUdpHeaderBytes)) return false;
  for (size_t i = 0; i < total; ++i) {
    const auto header = MakeUdpHeader({request, static_cast<uint16_t>(i),
                                       static_cast<uint16_t>(total), last});
    const size_t from = i * kBodyBytes;
    const Bytes part =
        body.subspan(from, std::min(kBodyBytes, body.size() - from));
    reply.Append(header);
    reply.Append(part);
  }
  if (total > 1) reply.SplitDatagrams(kMaxDatagramBytes);
  return true;
}

}  // namespace yamanote::net::memcached
