// test_server.h - the protocol and the service without a network: a test sends
// bytes and reads the answer, and owns the time.

#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "apps/kv/service.h"
#include "net/memcached.h"

namespace yamanote::kv {

class TestServer {
 public:
  // A wall clock that no test confuses with a relative time.
  static constexpr int64_t kUnixOrigin = 1'700'000'000;

  explicit TestServer(StoreOptions store = {},
                      void (*check_preempt)() = nullptr)
      : protocol_({.max_value_bytes = store.max_value_bytes}) {
    if (store.hash_seed == 0) store.hash_seed = 12345;
    KvOptions options{.store = store,
                      .now = [this] { return now_; },
                      .clock = StoreClock(now_, kUnixOrigin),
                      .check_preempt = check_preempt};
    auto service = KvService::Create(std::move(options));
    if (!service) throw std::runtime_error(service.error().message);
    service_ = std::move(*service);
  }

  void Advance(std::chrono::seconds by) { now_ += by; }
  KvService& service() { return *service_; }
  Store& store() { return service_->store(); }
  bool closed() const { return closed_; }
  // Bytes at the end of what was sent that are no whole request.
  size_t unused_bytes() const { return unused_; }

  // Sends `stream` over a connection of its own and returns all answers.
  std::string Send(std::string_view stream) {
    std::string answers;
    size_t skip = 0;
    closed_ = false;
    while (!stream.empty() && !closed_) {
      const Frame frame = protocol_.Next(AsBytes(stream), Transport::kTcp);
      if (frame.status == Frame::Status::kNeedMore) break;
      Reply reply(kReplyLimit);
      if (frame.status == Frame::Status::kMalformed) {
        protocol_.Refuse(AsBytes(stream), Transport::kTcp, Refusal::kMalformed,
                         reply);
      } else {
        Run(AsBytes(stream.substr(0, frame.size)), Transport::kTcp, reply);
      }
      answers += net::memcached::AsText(reply.bytes());
      closed_ = reply.close_after_send() || frame.size == 0;
      skip = std::min(stream.size(), frame.size + frame.skip);
      stream.remove_prefix(skip);
    }
    unused_ = stream.size();
    return answers;
  }

  // Sends `body` as the one datagram of request 7 and returns the answer with
  // its headers.
  std::string SendUdp(std::string_view body) {
    const std::string datagram =
        std::string({0, 7, 0, 0, 0, 1, 0, 0}) + std::string(body);
    Reply reply(kReplyLimit);
    Run(AsBytes(datagram), Transport::kUdp, reply);
    return std::string(net::memcached::AsText(reply.bytes()));
  }

 private:
  static constexpr size_t kReplyLimit = size_t{64} << 20;

  static Bytes AsBytes(std::string_view text) {
    return std::as_bytes(std::span(text));
  }

  void Run(Bytes bytes, Transport transport, Reply& reply) {
    // A copy of exactly the frame's size, so that a sanitizer sees any byte
    // that is read beyond it.
    const std::vector<std::byte> exact(bytes.begin(), bytes.end());
    service_->Handle(
        Request{.bytes = exact, .arrival = now_, .transport = transport},
        reply);
  }

  Instant now_ = FromNanos(1'000'000'000'000);
  net::memcached::MemcachedProtocol protocol_;
  std::unique_ptr<KvService> service_;
  bool closed_ = false;
  size_t unused_ = 0;
};

}  // namespace yamanote::kv
