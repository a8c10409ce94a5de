// test_app.h - the application's side of abi.h, for tests: a connection, and workers that
// are threads.

#pragma once

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "arbiter/abi.h"

namespace yamanote::arbiter {

// Whether `condition` comes true within a time that a loaded machine needs, too.
inline bool Eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

inline Header TestHeader(Kind kind) { return {kMagic, kVersion, kind}; }

inline Hello TestHello(const char* name, uint32_t guaranteed, uint32_t most,
                       bool best_effort = false) {
  Hello hello{};
  hello.header = TestHeader(Kind::kHello);
  std::strncpy(hello.name, name, sizeof hello.name - 1);
  std::strcpy(hello.allocation, "delay");
  hello.guaranteed = guaranteed;
  hello.most = most;
  hello.best_effort = best_effort ? 1 : 0;
  return hello;
}

class TestConnection {
 public:
  explicit TestConnection(const std::string& path) {
    socket_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    connected_ = connect(socket_, reinterpret_cast<sockaddr*>(&address),
                         sizeof address) == 0;
  }
  ~TestConnection() {
    Close();
    for (const int fd : descriptors) close(fd);
  }
  TestConnection(const TestConnection&) = delete;
  TestConnection& operator=(const TestConnection&) = delete;

  bool connected() const { return connected_; }
  bool Send(const void* data, std::size_t size) const {
    return send(socket_, data, size, MSG_NOSIGNAL) ==
           static_cast<ssize_t>(size);
  }
  template <typename Message>
  bool Send(const Message& message) const {
    return Send(&message, sizeof message);
  }
  bool SendKind(Kind kind) const { return Send(TestHeader(kind)); }

  // nullopt: the connection is closed.
  std::optional<Welcome> Hear() {
    Welcome welcome{};
    iovec part{.iov_base = &welcome, .iov_len = sizeof welcome};
    alignas(cmsghdr) char control[CMSG_SPACE(3 * sizeof(int))];
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t length = recvmsg(socket_, &message, MSG_CMSG_CLOEXEC);
    // Once, where something that was sent has not been read.
    if (length < 0 && errno == ECONNRESET)
      length = recvmsg(socket_, &message, MSG_CMSG_CLOEXEC);
    if (length != static_cast<ssize_t>(sizeof welcome)) return std::nullopt;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
      const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      descriptors.resize(count);
      std::memcpy(descriptors.data(), CMSG_DATA(header), count * sizeof(int));
    }
    return welcome;
  }
  std::string List() const {
    if (!SendKind(Kind::kList)) return "";
    std::string text(1 << 18, '\0');
    const ssize_t length = recv(socket_, text.data(), text.size(), 0);
    if (length < static_cast<ssize_t>(sizeof(Header))) return "";
    return text.substr(sizeof(Header),
                       static_cast<std::size_t>(length) - sizeof(Header));
  }
  bool Closed() const {
    char byte;
    return recv(socket_, &byte, 1, 0) <= 0;
  }
  // Whether the other side has closed it, without waiting.
  bool Lost() const {
    char byte;
    const ssize_t length = recv(socket_, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return length == 0 || (length < 0 && errno != EAGAIN);
  }
  void Close() {
    if (socket_ >= 0) close(std::exchange(socket_, -1));
  }

  std::vector<int> descriptors;  // Of the last Welcome.

 private:
  int socket_ = -1;
  bool connected_ = false;
};

// How its workers behave, until told otherwise.
enum class Manners : int {
  kGood,
  kDeaf,  // They stay where they are, whatever they are told.
};

// An application whose workers are where they are granted to be, all the time, and where
// they are at home, if `home`.
class TestApp {
 public:
  TestApp(const std::string& path, const Hello& hello) : connection_(path) {
    if (!connection_.Send(hello)) return;
    const std::optional<Welcome> welcome = connection_.Hear();
    if (!welcome) return;
    welcome_ = *welcome;
    if (welcome_.error != 0 || connection_.descriptors.size() != 3) return;
    void* const signals = mmap(nullptr, kSignalsBytes, PROT_READ | PROT_WRITE,
                               MAP_SHARED, connection_.descriptors[0], 0);
    void* const board = mmap(nullptr, kBoardBytes, PROT_READ, MAP_SHARED,
                             connection_.descriptors[1], 0);
    void* const handover = mmap(nullptr, kHandoverBytes, PROT_READ | PROT_WRITE,
                                MAP_SHARED, connection_.descriptors[2], 0);
    if (signals == MAP_FAILED || board == MAP_FAILED || handover == MAP_FAILED)
      return;
    handover_ = static_cast<Handover*>(handover);
    signals_ = static_cast<CoreSignals*>(signals);
    header_ = static_cast<const BoardHeader*>(board);
    commands_ = reinterpret_cast<const CoreCommand*>(
        static_cast<const std::byte*>(board) + sizeof(BoardHeader));
    opaque_ = hello.opaque != 0;
    if (!opaque_) StartWorkers();
  }
  ~TestApp() {
    ending_ = true;
    for (std::thread& worker : workers_) worker.join();
    connection_.Close();
    if (handover_ != nullptr) munmap(handover_, kHandoverBytes);
    if (signals_ != nullptr) munmap(signals_, kSignalsBytes);
    if (header_ != nullptr)
      munmap(const_cast<BoardHeader*>(header_), kBoardBytes);
  }
  TestApp(const TestApp&) = delete;
  TestApp& operator=(const TestApp&) = delete;

  bool ok() const { return signals_ != nullptr; }
  const Welcome& welcome() const { return welcome_; }
  TestConnection& connection() { return connection_; }
  CoreSignals& signals(unsigned core) { return signals_[core]; }

  // A task has been waiting, as the policies see it.
  void Need() {
    signals_[0].enqueued.fetch_add(1, std::memory_order_relaxed);
    signals_[0].oldest_since.store(1);
    Kick();
  }
  void NeedNoMore() {
    signals_[0].oldest_since.store(0);
    signals_[0].taken.store(signals_[0].enqueued.load());
  }
  void Kick() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (header_->sleeping.load() != 0)
      connection_.Send(arbiter::Kick{TestHeader(Kind::kKick)});
  }
  unsigned Running() const {
    unsigned running = 0;
    for (unsigned core = 0; core < welcome_.cores; ++core)
      running += running_[core].load() ? 1 : 0;
    return running;
  }
  bool Running(unsigned core) const { return running_[core]; }
  int tid(unsigned core) const { return (*tids_)[core]; }

  std::atomic<Manners> manners{Manners::kGood};
  std::atomic<bool> home{true};

 private:
  const CoreCommand& Mine(unsigned core, uint32_t app) const {
    return commands_[app * kMostCores + core];
  }

  void StartWorkers() {
    tids_ = std::make_unique<std::array<std::atomic<int>, kMostCores>>();
    for (unsigned core = 0; core < welcome_.cores; ++core)
      workers_.emplace_back([this, core] { Work(core); });
    Workers message{};
    message.header = TestHeader(Kind::kWorkers);
    for (unsigned core = 0; core < welcome_.cores; ++core) {
      while ((*tids_)[core] == 0) std::this_thread::yield();
      message.tids[core] = (*tids_)[core];
    }
    connection_.Send(message);
  }

  void Work(unsigned core) {
    (*tids_)[core] = static_cast<int>(syscall(SYS_gettid));
    const CoreCommand& command = Mine(core, welcome_.app);
    const bool at_home = welcome_.home[core] != 0;
    uint32_t answered = 0;
    while (!ending_) {
      const uint32_t word = command.word.load(std::memory_order_acquire);
      const uint32_t epoch = EpochOf(word);
      const bool granted =
          CommandOf(word) == Command::kGranted ||
          (CommandOf(word) == Command::kNext &&
           handover_[core].left.load(std::memory_order_acquire) ==
               command.after.load(std::memory_order_relaxed));
      if (granted && (at_home ? home.load() : epoch != EpochOf(answered))) {
        signals_[core].presence.store(Presence(epoch, true),
                                      std::memory_order_release);
        running_[core] = true;
        while (!ending_ &&
               (manners == Manners::kDeaf ||
                (CommandOf(command.word.load()) != Command::kRevoked &&
                 EpochOf(command.word.load()) == epoch &&
                 (!at_home || home.load()))))
          std::this_thread::sleep_for(std::chrono::microseconds(100));
        running_[core] = false;
        Leave(core, command, epoch);
      } else if (CommandOf(word) == Command::kRevoked && word != answered) {
        Leave(core, command, epoch);  // Before it came.
      } else {
        // Until it changes, or somebody looks whether there is an end.
        const timespec patience{.tv_sec = 0, .tv_nsec = 5'000'000};
        syscall(SYS_futex, &command.word, FUTEX_WAIT, word, &patience, nullptr,
                0);
        continue;
      }
      answered = word;
      // Asked while it ran: that is answered, too.
      if (const uint32_t now = command.word.load();
          EpochOf(now) == epoch && CommandOf(now) == Command::kRevoked)
        answered = now;
    }
  }

  void Leave(unsigned core, const CoreCommand& command, uint32_t epoch) {
    const uint32_t heir = command.heir.load(std::memory_order_relaxed);
    signals_[core].presence.store(Presence(epoch, false),
                                  std::memory_order_release);
    handover_[core].left.store(Departure(welcome_.app, epoch),
                               std::memory_order_release);
    if (heir < kMostApps) {
      syscall(SYS_futex, &Mine(core, heir).word, FUTEX_WAKE, INT_MAX, nullptr,
              nullptr, 0);
    }
  }

  TestConnection connection_;
  Welcome welcome_{};
  CoreSignals* signals_ = nullptr;
  Handover* handover_ = nullptr;
  const BoardHeader* header_ = nullptr;
  const CoreCommand* commands_ = nullptr;
  bool opaque_ = false;
  std::unique_ptr<std::array<std::atomic<int>, kMostCores>> tids_;
  std::array<std::atomic<bool>, kMostCores> running_{};
  std::atomic<bool> ending_{false};
  std::vector<std::thread> workers_;
};

}  // namespace yamanote::arbiter
