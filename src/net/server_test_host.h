// server_test_host.h - a server over loopback with a service that tests can
// hold. For tests.

#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "base/cpu.h"
#include "net/line_protocol.h"
#include "net/test_client.h"
#include "yamanote/runtime.h"
#include "yamanote/server.h"
#include "yamanote/thread.h"

namespace yamanote::net {

using namespace std::chrono_literals;

// Answers "<" + request. Lines that begin with 'W' wait for the test, 'H' do so
// without leaving their core, 'B' are answered with 100,000 bytes or with
// "too large".
class LineService final : public Service {
 public:
  Result<void> Init(unsigned cores) override {
    cores_ = cores;
    return init_result;
  }
  Result<void> InitPerCore(CoreId core) override {
    cores_seen_.fetch_or(1u << core);
    return {};
  }
  void Handle(const Request& request, Reply& reply) override {
    const auto kind = static_cast<char>(request.bytes[0]);
    if (kind == 'W') {
      waiting_.fetch_add(1);
      while (!go_) this_thread::sleep_for(100us);  // Gives way to everybody.
    }
    if (kind == 'H') {
      waiting_.fetch_add(1);
      while (!go_) base::Pause();
    }
    if (kind == 'B') {
      if (!reply.Append(std::string(100'000, 'b'))) reply.Append("too large\n");
      return;
    }
    if (kind == 'Q') reply.CloseAfterSend();
    reply.Append("<");
    reply.Append(request.bytes);
  }

  Result<void> init_result;
  std::atomic<unsigned> cores_{0};
  std::atomic<unsigned> cores_seen_{0};
  std::atomic<unsigned> waiting_{0};
  std::atomic<bool> go_{false};
};

template <typename F>
bool Eventually(F condition) {
  const Instant limit = Clock::now() + 10s;  // Longer means never.
  while (!condition()) {
    if (Clock::now() > limit) return false;
    std::this_thread::yield();
  }
  return true;
}

class ServerTest : public testing::Test {
 protected:
  void StartWith(const std::string& preset, ServerOptions options = {}) {
    // kProbe: as kAuto here, without a note that nothing has probes.
    RuntimeOptions runtime{
        .cores = 2, .pin = false, .preemption = Mechanism::kProbe};
    runtime.scheduling = *FindPreset(preset);
    auto created = Runtime::Create(runtime);
    ASSERT_TRUE(created) << created.error().message;
    runtime_ = std::move(*created);
    if (options.listen.empty()) {
      options.listen = {SocketAddress::Loopback(AddressFamily::kIpv4, 0)};
    }
    auto server = Server::Start(options, protocol_, service_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  TestClient Tcp(int receive_buffer = 0) {
    return TestClient(server_->tcp_addresses()[0], SOCK_STREAM, receive_buffer);
  }
  TestClient Udp() {
    return TestClient(server_->udp_addresses()[0], SOCK_DGRAM);
  }

  LineProtocol protocol_;
  LineService service_;
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<Server> server_;
};

}  // namespace yamanote::net
