// fake_server.cc - plain sockets, one thread, poll().

#include "tools/load/fake_server.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "base/check.h"
#include "tools/load/units.h"

namespace yamanote::load {
namespace {

constexpr uint64_t kGoodAnswers = 50;
constexpr size_t kSpinBytes = 32;
constexpr size_t kHeader = 8;
constexpr size_t kDatagram = 1400;

}  // namespace

struct FakeServer::Peer {
  Descriptor fd{};
  std::string input{};
};

FakeServer::FakeServer(Application application, Transport transport,
                       Manners manners)
    : application_(application),
      transport_(transport),
      manners_(manners),
      listener_(
          socket(AF_INET,
                 (transport == Transport::kTcp ? SOCK_STREAM : SOCK_DGRAM) |
                     SOCK_CLOEXEC,
                 0)),
      stop_(eventfd(0, EFD_CLOEXEC)) {
  const int bytes = 8 << 20;  // Best effort: a test must not lose by accident.
  setsockopt(listener_.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  YAMANOTE_CHECK(bind(listener_.get(), generic, sizeof(address)) == 0, "bind");
  socklen_t size = sizeof(address);
  YAMANOTE_CHECK(getsockname(listener_.get(), generic, &size) == 0,
                 "getsockname");
  port_ = ntohs(address.sin_port);
  if (transport == Transport::kTcp) {
    YAMANOTE_CHECK(listen(listener_.get(), 128) == 0, "listen");
  }
  thread_ = std::thread([this] { Loop(); });
}

FakeServer::~FakeServer() {
  const uint64_t one = 1;
  YAMANOTE_CHECK(write(stop_.get(), &one, sizeof(one)) == sizeof(one),
                 "eventfd");
  thread_.join();
}

std::string FakeServer::address() const {
  return fmt::format("127.0.0.1:{}", port_);
}

void FakeServer::Loop() {
  std::vector<std::unique_ptr<Peer>> peers;
  while (true) {
    const bool deaf =
        manners_ == Manners::kStopsReading && requests_.load() >= kGoodAnswers;
    std::vector<pollfd> waits = {{stop_.get(), POLLIN, 0},
                                 {listener_.get(), POLLIN, 0}};
    for (const auto& peer : peers) {
      waits.push_back({deaf ? -1 : peer->fd.get(), POLLIN, 0});
    }
    poll(waits.data(), waits.size(), -1);
    if (waits[0].revents != 0) return;
    for (size_t i = peers.size(); i-- > 0;) {
      if (waits[i + 2].revents != 0 && !ServeStream(*peers[i])) {
        peers.erase(peers.begin() + static_cast<ptrdiff_t>(i));
      }
    }
    if (waits[1].revents == 0) continue;
    if (transport_ == Transport::kUdp) {
      ServeDatagrams();
    } else {
      peers.push_back(std::make_unique<Peer>());
      peers.back()->fd = Descriptor(accept(listener_.get(), nullptr, nullptr));
    }
  }
}

void FakeServer::ServeDatagrams() {
  std::vector<std::pair<sockaddr_storage, std::string>> answers;
  std::array<char, 65536> buffer;
  for (int i = 0; i < 16; ++i) {
    sockaddr_storage from{};
    socklen_t size = sizeof(from);
    const ssize_t got =
        recvfrom(listener_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT,
                 reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) break;
    std::string request(buffer.data(), static_cast<size_t>(got));
    const bool kv = application_ == Application::kKv;
    const std::string header = kv ? request.substr(0, 2) : "";
    if (kv) request.erase(0, std::min(kHeader, request.size()));
    std::string out;
    Handle(request, out);
    if (out.empty()) continue;
    if (!kv) {
      answers.emplace_back(from, out);
      continue;
    }
    const size_t total = (out.size() + kDatagram - 1) / kDatagram;
    for (size_t part = 0; part < total; ++part) {
      std::string datagram = header;
      for (const size_t field : {part, total, size_t{0}}) {
        datagram.push_back(static_cast<char>(field >> 8));
        datagram.push_back(static_cast<char>(field));
      }
      answers.emplace_back(from,
                           datagram + out.substr(part * kDatagram, kDatagram));
    }
  }
  if (manners_ == Manners::kReorders)
    std::reverse(answers.begin(), answers.end());
  for (const auto& [to, bytes] : answers) {
    for (int i = 0; i < (manners_ == Manners::kTwice ? 2 : 1); ++i) {
      // A full buffer loses the answer, as UDP may.
      static_cast<void>(sendto(listener_.get(), bytes.data(), bytes.size(), 0,
                               reinterpret_cast<const sockaddr*>(&to),
                               sizeof(sockaddr_in)));
    }
  }
}

bool FakeServer::ServeStream(Peer& peer) {
  std::array<char, 65536> buffer;
  const ssize_t got =
      recv(peer.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got <= 0) return false;
  peer.input.append(buffer.data(), static_cast<size_t>(got));
  std::string out;
  if (!Handle(peer.input, out)) return false;
  for (size_t at = 0; at < out.size();) {
    const ssize_t sent =
        send(peer.fd.get(), out.data() + at, out.size() - at, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += static_cast<size_t>(sent);
  }
  return true;
}

bool FakeServer::Handle(std::string& input, std::string& out) {
  while (!input.empty()) {
    size_t size = kSpinBytes;
    if (application_ == Application::kKv) {
      const size_t line = input.find("\r\n");
      if (line == std::string::npos) return true;
      size = line + 2;
      if (input.starts_with("set ")) {
        const std::string length(input.substr(input.rfind(' ', line) + 1));
        size += static_cast<size_t>(std::stoi(length)) + 2;
      }
    }
    if (input.size() < size) return true;
    const std::string request = input.substr(0, size);
    input.erase(0, size);
    const uint64_t number = ++requests_;
    const std::string answer = Answer(request);
    if (manners_ == Manners::kDropsTenth && number % 10 == 0 && number > 10)
      continue;
    if (number > kGoodAnswers) {
      if (manners_ == Manners::kCloses) return false;
      if (manners_ == Manners::kSilentAfter) continue;
      if (manners_ == Manners::kGarbage) {
        out += std::string(kSpinBytes, '?') + "\r\n";
        continue;
      }
    }
    out += answer;
  }
  return true;
}

std::string FakeServer::Answer(std::string_view request) {
  const bool refuses =
      manners_ == Manners::kRefuses && requests_.load() % 10 == 0;
  if (application_ == Application::kSpin) {
    std::string answer(request);
    uint64_t service_ns = 0;
    for (int i = 7; i >= 0; --i) {
      service_ns = service_ns << 8 |
                   static_cast<uint8_t>(request[8 + static_cast<size_t>(i)]);
    }
    const Instant end =
        Clock::now() + Duration(static_cast<int64_t>(service_ns));
    while (Clock::now() < end) {
    }
    if (refuses) answer[28] = 1;
    return answer;
  }
  const size_t line = request.find("\r\n");
  if (refuses) return "SERVER_ERROR busy\r\n";
  const std::string_view first = request.substr(0, line);
  if (first.starts_with("set ")) return Store(first, request.substr(line + 2));
  std::string answer;
  const auto words = Split(first, ' ');
  for (size_t i = 1; i < words.size(); ++i) {
    const auto found = store_.find(words[i]);
    if (found == store_.end()) continue;
    answer += fmt::format("VALUE {} 0 {}\r\n{}\r\n", words[i],
                          found->second.size(), found->second);
  }
  return answer + "END\r\n";
}

std::string FakeServer::Store(std::string_view line, std::string_view value) {
  value.remove_suffix(2);
  store_[std::string(Split(line, ' ')[1])] = value;
  return "STORED\r\n";
}

}  // namespace yamanote::load
