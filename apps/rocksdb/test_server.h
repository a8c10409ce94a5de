// test_server.h - the protocol and the service without a network: a test sends
// bytes and reads the answer.

#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/rocksdb/service.h"
#include "net/memcached.h"
#include "net/resp.h"

namespace yamanote::rocks {

class TestServer {
 public:
  explicit TestServer(RocksdbOptions options)
      : protocol_({.max_value_bytes = options.max_value_bytes}),
        service_(std::move(options)) {
    if (auto ready = service_.Init(1); !ready)
      throw std::runtime_error(ready.error().message);
  }

  static RocksdbOptions Small(uint64_t keys = 0) {
    RocksdbOptions options;
    options.database.keys = keys;
    options.database.value_bytes = 3;
    options.max_value_bytes = 4096;
    options.max_scan_keys = 1000;
    return options;
  }

  RocksdbService& service() { return service_; }
  bool closed() const { return closed_; }

  // Sends `stream` over a connection of its own and returns all answers.
  std::string Send(std::string_view stream, size_t reply_limit = kReplyLimit) {
    std::string answers;
    closed_ = false;
    while (!stream.empty() && !closed_) {
      const Frame frame = protocol_.Next(AsBytes(stream), Transport::kTcp);
      if (frame.status == Frame::Status::kNeedMore) break;
      Reply reply(reply_limit);
      if (frame.status == Frame::Status::kMalformed) {
        protocol_.Refuse(AsBytes(stream), Transport::kTcp, Refusal::kMalformed,
                         reply);
      } else {
        Run(stream.substr(0, frame.size), Transport::kTcp, reply);
      }
      answers += net::memcached::AsText(reply.bytes());
      closed_ = reply.close_after_send() || frame.size == 0;
      stream.remove_prefix(std::min(stream.size(), frame.size + frame.skip));
    }
    return answers;
  }

  // Sends the command that `words` are.
  std::string Ask(const std::vector<std::string>& words) {
    std::string text = "*" + std::to_string(words.size()) + "\r\n";
    for (const std::string& word : words) {
      text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
    }
    return Send(text);
  }

  // Sends `body` as the datagram of request 7 and returns the answer with its
  // headers.
  std::string SendUdp(std::string_view body) {
    Reply reply(kReplyLimit);
    Run(std::string({0, 7, 0, 0, 0, 1, 0, 0}) + std::string(body),
        Transport::kUdp, reply);
    return std::string(net::memcached::AsText(reply.bytes()));
  }

 private:
  static constexpr size_t kReplyLimit = size_t{64} << 20;

  static Bytes AsBytes(std::string_view text) {
    return std::as_bytes(std::span(text));
  }

  void Run(std::string_view text, Transport transport, Reply& reply) {
    // A copy of exactly the frame's size, so that a sanitizer sees any byte
    // that is read beyond it.
    const std::vector<char> exact(text.begin(), text.end());
    service_.Handle(Request{.bytes = std::as_bytes(std::span(exact)),
                            .transport = transport},
                    reply);
  }

  net::resp::RespProtocol protocol_;
  RocksdbService service_;
  bool closed_ = false;
};

}  // namespace yamanote::rocks
