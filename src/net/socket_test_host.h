// socket_test_host.h - runs a socket test on user threads and on kernel
// threads.

#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "yamanote/runtime.h"
#include "yamanote/socket.h"
#include "yamanote/thread.h"

namespace yamanote {

// Far beyond what any call here takes; only a lost wake-up reaches it.
inline constexpr Duration kHang = std::chrono::seconds(30);

inline Until Soon() { return {.deadline = DeadlineIn(kHang)}; }

// Where a test's code runs.
struct HostKind {
  const char* name;
  unsigned cores;  // 0: plain kernel threads without a runtime.
};

inline std::string NameOf(const testing::TestParamInfo<HostKind>& info) {
  return info.param.name;
}

class HostTest : public testing::TestWithParam<HostKind> {
 protected:
  HostTest() {
    if (GetParam().cores == 0) return;
    RuntimeOptions options;
    options.cores = GetParam().cores;
    options.pin = false;  // Tests run beside each other.
    options.spin = std::chrono::microseconds(5);
    runtime_ = Runtime::Create(std::move(options)).value();
  }

  // A thread of the host's kind; joins when it goes away.
  class Fork {
   public:
    Fork(HostTest& test, std::function<void()> run) {
      if (test.runtime_ == nullptr) {
        kernel_ = std::thread(std::move(run));
      } else {
        user_ = Thread(std::move(run));
      }
    }
    Fork(Fork&&) = default;
    ~Fork() { Join(); }
    void Join() {
      if (kernel_.joinable()) kernel_.join();
      if (user_.joinable()) user_.join();
    }

   private:
    std::thread kernel_;
    Thread user_;
  };

  void Run(const std::function<void()>& test) {
    if (runtime_ == nullptr) {
      test();
    } else {
      runtime_->Run(test);
    }
  }

  struct Pair {
    TcpStream client;
    TcpStream server;
  };

  static TcpListener Listen(AddressFamily family = AddressFamily::kIpv4) {
    return TcpListener::Listen(SocketAddress::Loopback(family, 0)).value();
  }

  static Pair Connect() {
    TcpListener listener = Listen();
    TcpStream client =
        TcpStream::Connect(*listener.LocalAddress(), Soon()).value();
    return {std::move(client), listener.Accept(Soon()).value()};
  }

 private:
  std::unique_ptr<Runtime> runtime_;
};

inline constexpr HostKind kHosts[] = {{"UserThreadsOnOneCore", 1},
                                      {"UserThreadsOnTwoCores", 2},
                                      {"KernelThreads", 0}};

}  // namespace yamanote
