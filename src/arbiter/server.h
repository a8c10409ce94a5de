// server.h - the registration socket: who may talk to the arbiter, and how much.
//
// SOCK_SEQPACKET, a message for each struct of abi.h. A connection is one application,
// from its Hello until either side closes it. No call waits for a peer.
//
// What a peer can cost: it has a budget of work that refills with time; beyond it what it
// sends waits unread. So have new connections. A message that makes no sense is answered
// with what is wrong, then the connection is closed. Where descriptors run out, the one
// that is kept spare serves to refuse.
//
// One thread.

#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "arbiter/abi.h"
#include "arbiter/arbiter.h"
#include "arbiter/memory.h"
#include "arbiter/messages.h"
#include "arbiter/rights.h"

namespace yamanote::arbiter {

struct ServerOptions {
  std::string path;  // Of the socket; its folder exists.
  Rights rights;
  // What workers are told (Welcome).
  Duration park_after = std::chrono::microseconds(2);
  // Under policies that do not let workers park, too: nobody looks often enough to say
  // when an idle core may go.
  bool always_park = false;
  // A connection that has not said Hello for so long is closed.
  Duration hello_timeout = std::chrono::seconds(5);
  // The answer to kList.
  std::function<std::string(const Status&)> list;
};

// Work that somebody may cause: one unit refills in `per`, `burst` at most.
class Budget {
 public:
  Budget(Duration per, int64_t burst) : per_(per), limit_(burst * per) {}
  // Spends; may go below nothing.
  void Spend(int64_t units, Duration now) {
    Refill(now);
    left_ -= units * per_;
  }
  bool Empty(Duration now) {
    Refill(now);
    return left_ <= Duration::zero();
  }

 private:
  void Refill(Duration now) {
    if (now <= last_) return;
    left_ = limit_ - left_ < now - last_ ? limit_ : left_ + (now - last_);
    last_ = now;
  }

  Duration per_;
  Duration limit_;
  Duration left_{limit_};
  Duration last_{0};
};

class Server {
 public:
  // Of the memories that all applications get.
  struct Descriptors {
    int board = -1;
    int handover = -1;
  };

  // Listens. kUnavailable: another arbiter does already; kPermissionDenied and others as
  // the system says. `board`: what applications get to read.
  static Result<std::unique_ptr<Server>> Create(ServerOptions options,
                                                Arbiter& arbiter,
                                                const Descriptors& shared,
                                                Kernel& kernel);
  // Closes everything and removes the socket.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  struct Heard {
    bool kicked = false;  // Somebody needs a core, left one, or came or went.
    bool ended = false;   // `end` became readable.
  };
  // Deals with what peers want, once; waits at most `patience` for something.
  Heard Wait(Duration patience);
  // Wait() says when this descriptor is readable.
  Result<void> Watch(int end);

  unsigned connections() const { return open_; }

 private:
  static constexpr unsigned kMostConnections = kMostApps + 32;

  struct Connection {
    int socket = -1;
    uint32_t generation = 0;
    bool paused = false;  // Not read, until its budget has refilled.
    Duration since{0};
    Budget budget{std::chrono::microseconds(200), 200};
    AppId app = kNobody;
    pid_t pid = 0;
    uid_t uid = 0;
    Process process;  // Until Hello; then the arbiter has it.
    SharedMemory signals;
  };

  Server(ServerOptions&& options, Arbiter& arbiter, const Descriptors& shared,
         Kernel& kernel);
  Result<void> Listen();
  Result<void> Lock();
  void Accept(Duration now);
  void Take(int socket, Duration now);
  void Refuse(int socket, const Error& error);
  void Read(unsigned index, Duration now, Heard& heard);
  bool Handle(unsigned index, std::span<const std::byte> message, Duration now,
              Heard& heard);
  Result<void> Hear(Connection& connection, std::span<const std::byte> message,
                    Heard& heard);
  Result<void> Register(Connection& connection,
                        std::span<const std::byte> message);
  int64_t Sharers(uid_t uid) const;
  void Close(unsigned index);
  void Pause(unsigned index, bool paused);
  void Tend(Duration now, Heard& heard);
  bool Add(int descriptor, uint64_t data, uint32_t events);

  const ServerOptions options_;
  Arbiter& arbiter_;
  Kernel& kernel_;
  const Descriptors shared_;
  int epoll_ = -1;
  int lock_ = -1;
  int listener_ = -1;
  int spare_ = -1;
  bool bound_ = false;
  bool accepts_ = true;
  unsigned open_ = 0;
  Duration tended_{0};
  Budget arrivals_{std::chrono::microseconds(500), 100};
  std::array<Connection, kMostConnections> connections_;
  std::array<Welcome, 1> welcome_{};
};

// Where the socket is if nobody says otherwise: below /run for root, else in the user's
// own $XDG_RUNTIME_DIR. Empty: there is none.
std::string DefaultSocket();
inline constexpr char kSystemSocket[] = "/run/yamanote/arbiter.sock";

}  // namespace yamanote::arbiter
