// resp.cc - framing, classes and refusals of RESP2.

#include "net/resp.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "net/memcached.h"

namespace yamanote::net::resp {
namespace {

using memcached::AppendDatagrams;
using memcached::AsText;
using memcached::kUdpHeaderBytes;
using memcached::ReadUdpHeader;
using memcached::UdpHeader;

constexpr std::string_view kEnd = "\r\n";
// The longest line that holds a number: its sign and 19 digits.
constexpr size_t kMaxNumberBytes = 20;

constexpr std::pair<std::string_view, Verb> kVerbs[] = {
    {"GET", Verb::kGet},         {"SET", Verb::kSet},
    {"PUT", Verb::kSet},         {"RANGE", Verb::kRange},
    {"SCAN", Verb::kScan},       {"DEL", Verb::kDelete},
    {"DELETE", Verb::kDelete},   {"UNLINK", Verb::kDelete},
    {"EXISTS", Verb::kExists},   {"MGET", Verb::kMget},
    {"PING", Verb::kPing},       {"ECHO", Verb::kEcho},
    {"QUIT", Verb::kQuit},       {"SELECT", Verb::kSelect},
    {"HELLO", Verb::kHello},     {"CLIENT", Verb::kClient},
    {"COMMAND", Verb::kCommand}, {"CONFIG", Verb::kConfig},
    {"INFO", Verb::kInfo},       {"DBSIZE", Verb::kDbsize},
};

char Upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

bool SameWord(std::string_view capitals, std::string_view word) {
  return capitals.size() == word.size() &&
         std::equal(capitals.begin(), capitals.end(), word.begin(),
                    [](char a, char b) { return a == Upper(b); });
}

// "*3\r\n" or "$5\r\n" at the start of `text`, whose first byte is known.
struct NumberLine {
  enum class Status : uint8_t { kNeedMore, kDone, kBad };
  Status status = Status::kNeedMore;
  int64_t value = 0;
  size_t bytes = 0;
};

NumberLine ReadNumberLine(std::string_view text) {
  using enum NumberLine::Status;
  const std::string_view line = text.substr(1, kMaxNumberBytes + 1);
  const size_t end = line.find('\r');
  if (end == std::string_view::npos) {
    return {line.size() <= kMaxNumberBytes ? kNeedMore : kBad};
  }
  NumberLine out;
  const auto [stop, error] =
      std::from_chars(line.data(), line.data() + end, out.value);
  if (error != std::errc() || stop != line.data() + end) return {kBad};
  out.bytes = 1 + end + kEnd.size();
  if (text.size() < out.bytes) return {kNeedMore};
  out.status = text[out.bytes - 1] == '\n' ? kDone : kBad;
  return out;
}

// A command at the start of the input, as far as it can be told.
struct Command {
  Frame frame;
  std::string problem = {};  // Of a malformed one.
};

Command Malformed(std::string problem) {
  return {{.status = Frame::Status::kMalformed}, std::move(problem)};
}

Command NeedMore(size_t size = 0) { return {{.size = size}}; }

Command Whole(size_t size, size_t skip = 0) {
  return {{.status = Frame::Status::kRequest, .size = size, .skip = skip}};
}

Command ReadInline(std::string_view input) {
  const size_t end = input.substr(0, kMaxInlineBytes).find('\n');
  if (end == std::string_view::npos) {
    if (input.size() < kMaxInlineBytes) return NeedMore();
    return Malformed("too big inline request");
  }
  // A browser that was made to send us a request must not get its body run.
  const std::string_view line = input.substr(0, end);
  const std::string_view first = line.substr(0, line.find(' '));
  if (SameWord("POST", first) || SameWord("HOST:", first)) {
    return Malformed("this is no HTTP server");
  }
  return Whole(end + 1);
}

Command ReadArray(std::string_view input, size_t max_value_bytes) {
  const NumberLine header = ReadNumberLine(input);
  if (header.status == NumberLine::Status::kNeedMore) return NeedMore();
  const bool bad = header.status == NumberLine::Status::kBad;
  if (bad || header.value > static_cast<int64_t>(kMaxWords))
    return Malformed("invalid multibulk length");

  size_t at = header.bytes;
  for (int64_t left = header.value; left > 0; --left) {
    if (at == input.size()) return NeedMore();
    if (input[at] != '$') {
      // An answer is one line: what would end it is not repeated.
      const bool printable = input[at] > ' ' && input[at] <= '~';
      return Malformed(std::string("expected '$', got '") +
                       (printable ? input[at] : ' ') + "'");
    }
    const NumberLine length = ReadNumberLine(input.substr(at));
    if (length.status == NumberLine::Status::kNeedMore) return NeedMore();
    if (length.status == NumberLine::Status::kBad || length.value < 0 ||
        length.value > static_cast<int64_t>(kMaxBulkBytes)) {
      return Malformed("invalid bulk length");
    }
    at += length.bytes;
    const size_t bytes = static_cast<size_t>(length.value) + kEnd.size();
    if (static_cast<size_t>(length.value) > max_value_bytes) {
      if (left > 1) return Malformed("invalid bulk length");
      return Whole(at, bytes);
    }
    if (input.size() - at < bytes) return NeedMore(left == 1 ? at + bytes : 0);
    at += bytes;
    if (input.substr(at - kEnd.size(), kEnd.size()) != kEnd)
      return Malformed("bulk string without its end of line");
  }
  return Whole(at);
}

Command ReadCommand(std::string_view input, size_t max_value_bytes) {
  if (input.empty()) return NeedMore();
  return input[0] == '*' ? ReadArray(input, max_value_bytes)
                         : ReadInline(input);
}

std::string_view RefusalText(Refusal why) {
  switch (why) {
    case Refusal::kOverloaded:
      return "-ERR server overloaded, try again later\r\n";
    case Refusal::kTooLarge:
      return "-ERR Protocol error: request too large\r\n";
    case Refusal::kShutdown:
      return "-ERR server is shutting down\r\n";
    case Refusal::kMalformed:
      break;
  }
  return "-ERR Protocol error\r\n";
}

// Whether a whole command asks for anything.
bool HasWord(std::string_view frame) {
  Words words(frame);
  return words.Next().has_value() || words.withheld() > 0;
}

// Of a request: what else has no answer.
std::optional<UdpHeader> ReadRequestHeader(Bytes datagram) {
  const std::optional<UdpHeader> header = ReadUdpHeader(datagram);
  if (!header || header->last != kRequestDatagram) return std::nullopt;
  return header;
}

}  // namespace

Verb FindVerb(std::string_view word) {
  for (const auto& [name, verb] : kVerbs) {
    if (SameWord(name, word)) return verb;
  }
  return Verb::kUnknown;
}

Words::Words(std::string_view frame) : rest_(frame) {
  if (frame.empty()) return;
  if (frame[0] == '*') {
    const NumberLine header = ReadNumberLine(frame);
    is_array_ = header.status == NumberLine::Status::kDone && header.value > 0;
    left_ = is_array_ ? static_cast<size_t>(header.value) : 0;
    rest_.remove_prefix(std::min(rest_.size(), header.bytes));
    return;
  }
  const size_t end = rest_.find_last_not_of("\r\n");
  rest_ = rest_.substr(0, end == std::string_view::npos ? 0 : end + 1);
}

size_t Words::left() const {
  if (is_array_ || rest_.empty()) return left_;
  size_t words = 0;
  for (size_t i = 0; i < rest_.size(); ++i) {
    words += rest_[i] != ' ' && (i == 0 || rest_[i - 1] == ' ');
  }
  return words;
}

std::optional<std::string_view> Words::Next() {
  if (!is_array_) {
    const size_t begin = rest_.find_first_not_of(' ');
    if (begin == std::string_view::npos) return std::nullopt;
    rest_.remove_prefix(begin);
    const std::string_view word = rest_.substr(0, rest_.find(' '));
    rest_.remove_prefix(word.size());
    return word;
  }
  if (left_ == 0 || rest_.empty()) return std::nullopt;
  const NumberLine length = ReadNumberLine(rest_);
  if (length.status != NumberLine::Status::kDone || length.value < 0)
    return std::nullopt;  // The protocol lets no such frame through.
  --left_;
  rest_.remove_prefix(length.bytes);
  const auto bytes = static_cast<size_t>(length.value);
  if (rest_.size() < bytes) {
    withheld_ = bytes;
    rest_ = {};
    return std::nullopt;
  }
  const std::string_view word = rest_.substr(0, bytes);
  rest_.remove_prefix(std::min(rest_.size(), bytes + kEnd.size()));
  return word;
}

ClassId RespProtocol::ClassOf(std::string_view frame) const {
  Words words(frame);
  switch (FindVerb(words.Next().value_or(""))) {
    case Verb::kSet:
      return kPutClass;
    case Verb::kDelete:
      return words.left() > options_.long_get_keys ? kScanClass : kPutClass;
    case Verb::kRange:
    case Verb::kScan:
      return kScanClass;
    case Verb::kMget:
    case Verb::kExists:
      return words.left() > options_.long_get_keys ? kScanClass : kGetClass;
    default:
      return kGetClass;
  }
}

Frame RespProtocol::Next(Bytes input, Transport transport) const {
  if (transport == Transport::kTcp) {
    const std::string_view text = AsText(input);
    Command command = ReadCommand(text, options_.max_value_bytes);
    if (command.frame.status == Frame::Status::kRequest) {
      command.frame.request_class = ClassOf(text.substr(0, command.frame.size));
    }
    return command.frame;
  }

  Frame frame{.status = Frame::Status::kMalformed, .size = input.size()};
  const std::optional<UdpHeader> header = ReadRequestHeader(input);
  if (!header || header->total != 1) return frame;
  const std::string_view text = AsText(input.subspan(kUdpHeaderBytes));
  const Command command = ReadCommand(text, options_.max_value_bytes);
  if (command.frame.status != Frame::Status::kRequest ||
      command.frame.size != text.size() || command.frame.skip > 0) {
    return frame;
  }
  frame.status = Frame::Status::kRequest;
  frame.request_class = ClassOf(text);
  return frame;
}

void RespProtocol::Refuse(Bytes frame, Transport transport, Refusal why,
                          Reply& reply) const {
  if (transport == Transport::kUdp) {
    const std::optional<UdpHeader> header = ReadRequestHeader(frame);
    if (!header) return;
    const std::string_view text =
        why == Refusal::kMalformed
            ? "-ERR Protocol error: a datagram holds one whole command\r\n"
            : RefusalText(why);
    AppendDatagrams(header->request, std::as_bytes(std::span(text)), reply,
                    kReplyDatagram);
    return;
  }
  if (why == Refusal::kOverloaded && frame.empty()) {
    reply.Append("-ERR max number of clients reached\r\n");
    return;
  }
  // An empty line or array has no answer, so it gets no refusal either: clients
  // count answers.
  if (why == Refusal::kOverloaded || why == Refusal::kShutdown) {
    if (!frame.empty() && !HasWord(AsText(frame))) return;
  }
  if (why == Refusal::kMalformed) {
    const Command command =
        ReadCommand(AsText(frame), options_.max_value_bytes);
    reply.Append("-ERR Protocol error: ");
    reply.Append(command.problem);
    reply.Append(kEnd);
  } else {
    reply.Append(RefusalText(why));
  }
  if (why == Refusal::kMalformed || why == Refusal::kTooLarge)
    reply.CloseAfterSend();
}

std::vector<ClassOptions> RespProtocol::Classes() const {
  return {ClassOptions{.name = "get"},
          ClassOptions{.name = "scan", .slo = std::chrono::milliseconds(2)},
          ClassOptions{.name = "put"}};
}

}  // namespace yamanote::net::resp
