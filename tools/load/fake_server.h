// fake_server.h - a small server for tests, honest or not, on a loopback port.

#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tools/load/sockets.h"
#include "tools/load/workload.h"

namespace yamanote::load {

enum class Manners : uint8_t {
  kHonest,
  kDropsTenth,    // Every tenth request gets no answer.
  kTwice,         // UDP: every answer is sent twice.
  kReorders,      // UDP: answers go out in reversed pairs.
  kCloses,        // TCP: closes after 50 answers.
  kGarbage,       // After 50 answers every one is nonsense.
  kRefuses,       // The protocol's refusal to every tenth request.
  kSilentAfter,   // Answers 50 requests, then reads but never answers.
  kStopsReading,  // TCP: after 50 answers, reads nothing any more.
};

// Serves spin or the part of memcached's protocol that the generator uses, in a
// thread of its own, until it is destroyed.
class FakeServer {
 public:
  FakeServer(Application application, Transport transport, Manners manners);
  ~FakeServer();

  std::string address() const;
  uint64_t requests() const { return requests_.load(); }

 private:
  struct Peer;

  void Loop();
  void ServeDatagrams();
  bool ServeStream(Peer& peer);
  // Takes whole requests off `input`; appends their answers to `out`.
  bool Handle(std::string& input, std::string& out);
  std::string Answer(std::string_view request);
  std::string Store(std::string_view line, std::string_view value);

  const Application application_;
  const Transport transport_;
  const Manners manners_;
  Descriptor listener_;
  Descriptor stop_;
  uint16_t port_ = 0;
  std::atomic<uint64_t> requests_{0};
  std::map<std::string, std::string, std::less<>> store_;
  std::thread thread_;
};

}  // namespace yamanote::load
