// client.cc - registration, and the system calls around the shared words.

#include "arbiter/client.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

namespace yamanote::arbiter {
namespace {

// A registration that takes longer is an arbiter that hangs.
constexpr time_t kPatienceSeconds = 5;

tl::unexpected<Error> Failed(ErrorCode code, const std::string& what,
                             int error) {
  return MakeError(code, what + ": " + std::strerror(error), error);
}

// Shared between processes, so not FUTEX_PRIVATE_FLAG.
long Futex(const std::atomic<uint32_t>& word, int operation, uint32_t value,
           const timespec* longest = nullptr) {
  return syscall(SYS_futex, &word, operation, value, longest, nullptr, 0);
}

void Copy(std::span<char> to, std::string_view text) {
  const std::size_t length = std::min(text.size(), to.size() - 1);
  std::copy_n(text.begin(), length, to.begin());
}

struct Descriptors {
  // In the order in which they come: signals, board, handover.
  std::array<int, 3> fds = {-1, -1, -1};

  ~Descriptors() {
    for (const int fd : fds) {
      if (fd >= 0) close(fd);
    }
  }
};

Result<int> Dial(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "the arbiter's socket '" + path + "' is longer than " +
                         std::to_string(sizeof(address.sun_path) - 1) +
                         " bytes; use a shorter path");
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return Failed(ErrorCode::kResourceExhausted, "no socket for the arbiter",
                  errno);
  const timeval patience{.tv_sec = kPatienceSeconds, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) != 0) {
    const int error = errno;
    close(fd);
    return Failed(ErrorCode::kUnavailable,
                  "no arbiter listens on " + path +
                      " (start yamanoted, or run without one)",
                  error);
  }
  return fd;
}

// The answer, and the descriptors with it.
Result<Welcome> ReceiveWelcome(int fd, Descriptors& descriptors) {
  Welcome welcome{};
  iovec part{.iov_base = &welcome, .iov_len = sizeof(welcome)};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(3 * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  if (length < 0)
    return Failed(ErrorCode::kUnavailable, "the arbiter does not answer",
                  errno);
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET &&
      header->cmsg_type == SCM_RIGHTS) {
    std::memcpy(descriptors.fds.data(), CMSG_DATA(header),
                std::min<std::size_t>(header->cmsg_len - CMSG_LEN(0),
                                      sizeof(descriptors.fds)));
  }
  if (static_cast<std::size_t>(length) != sizeof(welcome) ||
      welcome.header.magic != kMagic || welcome.header.kind != Kind::kWelcome) {
    return MakeError(ErrorCode::kUnavailable,
                     "what answers there is no arbiter of this version; "
                     "use the yamanoted that came with this library");
  }
  if (welcome.error != 0) {
    welcome.message[sizeof(welcome.message) - 1] = '\0';
    const auto error = static_cast<int>(welcome.error);
    return MakeError(
        error == EACCES || error == EPERM ? ErrorCode::kPermissionDenied
                                          : ErrorCode::kInvalidArgument,
        std::string("the arbiter refuses: ") + welcome.message, error);
  }
  if (welcome.header.version != kVersion || welcome.cores < 1 ||
      welcome.cores > kMostCores || welcome.app >= kMostApps ||
      descriptors.fds.back() < 0) {
    return MakeError(ErrorCode::kUnavailable,
                     "the arbiter's answer makes no sense; use the yamanoted "
                     "that came with this library");
  }
  return welcome;
}

Result<void*> Map(int fd, std::size_t bytes, int protection) {
  struct stat status{};
  if (fstat(fd, &status) != 0 ||
      static_cast<std::size_t>(status.st_size) < bytes) {
    return MakeError(ErrorCode::kUnavailable,
                     "the arbiter's shared memory is too small; use the "
                     "yamanoted that came with this library");
  }
  void* const memory = mmap(nullptr, bytes, protection, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    return Failed(ErrorCode::kResourceExhausted,
                  "can't map the arbiter's memory", errno);
  return memory;
}

}  // namespace

Result<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options) {
  const Result<int> fd = Dial(options.socket);
  if (!fd) return tl::unexpected(fd.error());
  std::unique_ptr<Client> client(new Client());
  client->socket_ = *fd;

  Hello hello{};
  hello.header = {.magic = kMagic, .version = kVersion, .kind = Kind::kHello};
  Copy(hello.name, options.name);
  Copy(hello.allocation, options.allocation);
  hello.guaranteed = options.guaranteed;
  hello.most = options.most;
  hello.best_effort = options.best_effort ? 1 : 0;
  hello.opaque = options.opaque ? 1 : 0;
  if (send(*fd, &hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello))
    return Failed(ErrorCode::kUnavailable, "can't register with the arbiter",
                  errno);

  Descriptors descriptors;
  const Result<Welcome> welcome = ReceiveWelcome(*fd, descriptors);
  if (!welcome) return tl::unexpected(welcome.error());
  client->app_ = welcome->app;
  client->cpus_.assign(welcome->cpus, welcome->cpus + welcome->cores);
  for (CoreId core = 0; core < welcome->cores; ++core)
    client->home_.push_back(welcome->home[core] != 0);
  client->timed_ = welcome->timed != 0;
  client->parks_ = welcome->parks != 0;
  client->park_after_ = Duration(welcome->park_after_ns);

  const Result<void*> board = Map(descriptors.fds[1], kBoardBytes, PROT_READ);
  if (!board) return tl::unexpected(board.error());
  client->board_ = static_cast<const BoardHeader*>(*board);
  client->commands_ = reinterpret_cast<const CoreCommand*>(client->board_ + 1);
  const Result<void*> signals =
      Map(descriptors.fds[0], kSignalsBytes, PROT_READ | PROT_WRITE);
  if (!signals) return tl::unexpected(signals.error());
  client->signals_ = static_cast<CoreSignals*>(*signals);
  const Result<void*> handover =
      Map(descriptors.fds[2], kHandoverBytes, PROT_READ | PROT_WRITE);
  if (!handover) return tl::unexpected(handover.error());
  client->handover_ = static_cast<Handover*>(*handover);
  return client;
}

Client::~Client() {
  if (handover_ != nullptr) munmap(handover_, kHandoverBytes);
  if (signals_ != nullptr) munmap(signals_, kSignalsBytes);
  if (board_ != nullptr) munmap(const_cast<BoardHeader*>(board_), kBoardBytes);
  if (socket_ >= 0) close(socket_);
}

Result<void> Client::SendWorkers(std::span<const int> tids) {
  Workers workers{};
  workers.header = {
      .magic = kMagic, .version = kVersion, .kind = Kind::kWorkers};
  std::copy_n(tids.begin(), std::min<std::size_t>(tids.size(), kMostCores),
              workers.tids);
  if (send(socket_, &workers, sizeof(workers), MSG_NOSIGNAL) == sizeof(workers))
    return {};
  return Failed(ErrorCode::kUnavailable,
                "can't tell the arbiter the workers' threads", errno);
}

bool Client::MayCome(CoreId core, uint32_t word) const {
  if (CommandOf(word) == Command::kGranted) return true;
  // Relaxed: written before the word. Acquire: pairs with Leave() of the other.
  return CommandOf(word) == Command::kNext &&
         handover_[core].left.load(std::memory_order_acquire) ==
             Slot(app_, core).after.load(std::memory_order_relaxed);
}

void Client::Come(CoreId core, uint32_t word) {
  // Relaxed: it says nothing about anything else.
  signals_[core].presence.store(Presence(EpochOf(word), true),
                                std::memory_order_relaxed);
}

void Client::Leave(CoreId core, uint32_t word) {
  // Release: pairs with the arbiter's acquire.
  signals_[core].presence.store(Presence(EpochOf(word), false),
                                std::memory_order_release);
  // Release: pairs with MayCome() of the heir.
  handover_[core].left.store(Departure(app_, EpochOf(word)),
                             std::memory_order_release);
  if (CommandOf(word) != Command::kRevoked) return;
  // Relaxed: written before the word, which was read with acquire.
  const uint32_t heir = Slot(app_, core).heir.load(std::memory_order_relaxed);
  if (heir < kMostApps) Futex(Slot(heir, core).word, FUTEX_WAKE, INT_MAX);
}

void Client::Sleep(CoreId core, uint32_t word) const {
  constexpr timespec kLongest{.tv_sec = 0, .tv_nsec = ToNanos(kLongestSleep)};
  Futex(Slot(app_, core).word, FUTEX_WAIT, word, &kLongest);
}

void Client::Wake(CoreId core) const {
  Futex(Slot(app_, core).word, FUTEX_WAKE, INT_MAX);
}

void Client::KickIfAsleep() {
  // What was shown comes first. Pairs with Board::SetSleeping().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (board_->sleeping.load(std::memory_order_seq_cst) == 0) return;
  Kick kick{};
  kick.header = {.magic = kMagic, .version = kVersion, .kind = Kind::kKick};
  // If it does not fit there are unread ones, and if nobody is there it is in vain.
  (void)send(socket_, &kick, sizeof(kick), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace yamanote::arbiter
