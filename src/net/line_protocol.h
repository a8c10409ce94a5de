// line_protocol.h - the protocol of this room's tests: one line, one request.
//
//   "text\n"      a request of class 0; of class 1 if it begins with 'L'
//   "S<n>\n"      a request whose next n bytes nobody wants to see
//   "N<n>:..."    a request of n bytes, which the protocol says beforehand
//   "!text\n"     malformed, the next line can be told apart
//   "?"           malformed, it cannot
//
// Refusals are "E<number of the Refusal>\n".

#pragma once

#include <algorithm>
#include <string>

#include "yamanote/service.h"

namespace yamanote::net {

class LineProtocol final : public Protocol {
 public:
  Frame Next(Bytes input, Transport transport) const override {
    Frame frame;
    if (input.empty()) return frame;
    const char kind = static_cast<char>(input[0]);
    if (kind == '?') {
      frame.status = Frame::Status::kMalformed;
      return frame;
    }
    if (kind == 'N') return Sized(input);
    const auto end = std::find(input.begin(), input.end(), std::byte{'\n'});
    if (end == input.end()) {
      if (transport == Transport::kUdp)
        frame.status = Frame::Status::kMalformed;
      frame.until = std::byte{'\n'};
      return frame;
    }
    frame.size = static_cast<size_t>(end - input.begin()) + 1;
    frame.status =
        kind == '!' ? Frame::Status::kMalformed : Frame::Status::kRequest;
    frame.request_class = kind == 'L' ? 1 : 0;
    if (kind == 'S') frame.skip = Number(input.first(frame.size));
    return frame;
  }

  void Refuse(Bytes, Transport, Refusal why, Reply& reply) const override {
    reply.Append("E" + std::to_string(static_cast<int>(why)) + "\n");
  }

  std::vector<ClassOptions> Classes() const override {
    return {{.name = "short"}, {.name = "long"}};
  }

 private:
  // The digits from the second byte on; at most five, so that sums stay small.
  static size_t Number(Bytes text) {
    size_t value = 0;
    for (size_t i = 1; i < text.size() && i <= 5; ++i) {
      const char digit = static_cast<char>(text[i]);
      if (digit < '0' || digit > '9') break;
      value = value * 10 + static_cast<size_t>(digit - '0');
    }
    return value;
  }

  static Frame Sized(Bytes input) {
    Frame frame;
    const auto colon = std::find(input.begin(), input.end(), std::byte{':'});
    if (colon == input.end()) return frame;
    const auto header = static_cast<size_t>(colon - input.begin()) + 1;
    frame.size = std::max(Number(input), header);
    if (input.size() >= frame.size) frame.status = Frame::Status::kRequest;
    return frame;
  }
};

}  // namespace yamanote::net
