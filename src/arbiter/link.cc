// link.cc - registration, and the system calls around the shared words.

#include "arbiter/link.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
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

#include "base/check.h"

namespace yamanote::arbiter {
namespace {

// A registration that takes longer is an arbiter that hangs.
constexpr time_t kPatienceSeconds = 5;
constexpr std::size_t kAllBytes = kBoardBytes + kSignalsBytes + kHandoverBytes;

tl::unexpected<Error> Failed(ErrorCode code, const std::string& what,
                             int error) {
  return MakeError(code, what + ": " + std::strerror(error), error);
}

// Shared between processes, so not FUTEX_PRIVATE_FLAG.
long Futex(const std::atomic<uint32_t>& word, int operation, uint32_t value,
           const timespec* longest = nullptr) {
  return syscall(SYS_futex, &word, operation, value, longest, nullptr, 0);
}

// The kernel waits on one word at a time.
std::atomic<bool> g_one_word{false};

futex_waitv Awaited(const std::atomic<uint32_t>& word, uint32_t value,
                    uint32_t flags) {
  return {.val = value,
          .uaddr = reinterpret_cast<uintptr_t>(&word),
          .flags = FUTEX_32 | flags,
          .__reserved = 0};
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
Result<Welcome> ReceiveWelcome(int fd, int end, Descriptors& descriptors) {
  std::array<pollfd, 2> awaited{
      pollfd{.fd = fd, .events = POLLIN, .revents = 0},
      {.fd = end, .events = POLLIN, .revents = 0}};
  if (poll(awaited.data(), awaited.size(), kPatienceSeconds * 1000) <= 0 ||
      awaited[1].revents != 0) {
    return MakeError(ErrorCode::kUnavailable,
                     "the arbiter does not answer; look whether it is stopped");
  }
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
  if (length == 0)
    return MakeError(ErrorCode::kUnavailable,
                     "the arbiter ended before it answered; try again");
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET &&
      header->cmsg_type == SCM_RIGHTS) {
    std::memcpy(descriptors.fds.data(), CMSG_DATA(header),
                std::min<std::size_t>(header->cmsg_len - CMSG_LEN(0),
                                      sizeof(descriptors.fds)));
  }
  if (static_cast<std::size_t>(length) != sizeof(welcome) ||
      welcome.header.magic != kMagic || welcome.header.kind != Kind::kWelcome) {
    return MakeError(ErrorCode::kUnsupported,
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
    return MakeError(ErrorCode::kUnsupported,
                     "the arbiter's answer makes no sense; use the yamanoted "
                     "that came with this library");
  }
  return welcome;
}

// Puts that memory where `place` is; -1: zero, and nobody else's.
Result<void> Map(int fd, void* place, std::size_t bytes, int protection) {
  struct stat status{};
  if (fd >= 0 && (fstat(fd, &status) != 0 ||
                  static_cast<std::size_t>(status.st_size) < bytes)) {
    return MakeError(ErrorCode::kUnsupported,
                     "the arbiter's shared memory is too small; use the "
                     "yamanoted that came with this library");
  }
  const int flags =
      MAP_FIXED | (fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
  if (mmap(place, bytes, protection, flags, fd, 0) == MAP_FAILED) {
    return Failed(ErrorCode::kResourceExhausted,
                  "can't map the arbiter's memory", errno);
  }
  return {};
}

}  // namespace

Result<void> Link::Reserve() {
  void* const all = mmap(nullptr, kAllBytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) {
    return Failed(ErrorCode::kResourceExhausted,
                  "no room for the arbiter's memory", errno);
  }
  auto* const bytes = static_cast<std::byte*>(all);
  // Each is a whole number of pages.
  signals_ = reinterpret_cast<CoreSignals*>(bytes);
  handover_ = reinterpret_cast<Handover*>(bytes + kSignalsBytes);
  board_ = reinterpret_cast<const BoardHeader*>(bytes + kSignalsBytes +
                                                kHandoverBytes);
  commands_ = reinterpret_cast<const CoreCommand*>(board_ + 1);
  // Nor do these move, so that a worker that is late reads nothing that is gone.
  cpus_.reserve(kMostCores);
  home_.reserve(kMostCores);
  return {};
}

Link::~Link() {
  if (socket_ >= 0) close(socket_);
  if (signals_ != nullptr) munmap(signals_, kAllBytes);
}

// The descriptor stays: a worker that is late may send a kick to it.
void Link::HangUp() {
  lost_.store(true, std::memory_order_relaxed);
  alone_ = true;
  if (socket_ >= 0) shutdown(socket_, SHUT_RDWR);
}

Result<void> Link::Open(const ClientOptions& options, const HeldCores& held,
                        int end) {
  HangUp();
  const Result<int> dialled = Dial(options.socket);
  if (!dialled) return tl::unexpected(dialled.error());
  if (socket_ < 0) {
    socket_ = *dialled;
  } else {
    // The same number, so that nothing that is late is sent elsewhere.
    const int copied = dup3(*dialled, socket_, O_CLOEXEC);
    close(*dialled);
    if (copied < 0)
      return Failed(ErrorCode::kResourceExhausted,
                    "no descriptor for the arbiter", errno);
  }
  const int fd = socket_;
  alone_ = false;

  Hello hello{};
  hello.header = {.magic = kMagic, .version = kVersion, .kind = Kind::kHello};
  Copy(hello.name, options.name);
  Copy(hello.allocation, options.allocation);
  hello.guaranteed = options.guaranteed;
  hello.most = options.most;
  hello.best_effort = options.best_effort ? 1 : 0;
  hello.opaque = options.opaque ? 1 : 0;
  hello.keeps = options.keeps ? 1 : 0;
  std::ranges::copy(held, hello.held);
  if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello))
    return Failed(ErrorCode::kUnavailable, "can't register with the arbiter",
                  errno);

  Descriptors descriptors;
  const Result<Welcome> welcome = ReceiveWelcome(fd, end, descriptors);
  if (!welcome) return tl::unexpected(welcome.error());
  app_.store(welcome->app, std::memory_order_relaxed);
  cpus_.assign(welcome->cpus, welcome->cpus + welcome->cores);
  home_.clear();
  for (CoreId core = 0; core < welcome->cores; ++core)
    home_.push_back(welcome->home[core] != 0);
  timed_ = welcome->timed != 0;
  parks_ = welcome->parks != 0;
  park_after_ = Duration(welcome->park_after_ns);

  const auto [signals, board, handover] = descriptors.fds;
  if (auto mapped =
          Map(board, const_cast<BoardHeader*>(board_), kBoardBytes, PROT_READ);
      !mapped)
    return mapped;
  if (auto mapped =
          Map(signals, signals_, kSignalsBytes, PROT_READ | PROT_WRITE);
      !mapped)
    return mapped;
  if (auto mapped =
          Map(handover, handover_, kHandoverBytes, PROT_READ | PROT_WRITE);
      !mapped)
    return mapped;
  lost_.store(false, std::memory_order_relaxed);
  return {};
}

void Link::BeAlone(const Link& before) {
  HangUp();
  app_.store(0, std::memory_order_relaxed);
  cpus_ = before.cpus_;
  home_ = before.home_;
  timed_ = before.timed_;
  parks_ = true;
  park_after_ = before.park_after_;
  // It replaces memory by memory that is not touched yet, for which there is always room:
  // the number of mappings falls or stays.
  YAMANOTE_CHECK(
      Map(-1, signals_, kAllBytes, PROT_READ | PROT_WRITE).has_value(),
      "zero pages can be had");
  auto* const commands = const_cast<CoreCommand*>(commands_);
  for (CoreId core = 0; core < cpus_.size(); ++core) {
    commands[core].word.store(home_[core] ? CommandWord(1, Command::kGranted)
                                          : CommandWord(0, Command::kAway),
                              std::memory_order_release);
  }
}

bool Link::Lost() {
  if (lost_.load(std::memory_order_relaxed)) return true;
  // What the arbiter sends now is why it closes.
  char byte;
  const ssize_t length =
      recv(socket_, &byte, 1, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  lost_.store(true, std::memory_order_relaxed);
  return true;
}

// Wherever its worker is, or may come any moment: the next arbiter says who has the core.
HeldCores Link::Held() const {
  HeldCores held{};
  for (CoreId core = 0; core < cpus_.size(); ++core) {
    const uint32_t word = Word(core);
    const uint32_t presence =
        signals_[core].presence.load(std::memory_order_relaxed);
    if (home_[core]) {
      held[core] = kHeldHome;
    } else if (CommandOf(word) == Command::kGranted && Keeps(core)) {
      held[core] = kHeld;
    } else if (CommandOf(word) != Command::kAway
                   ? presence != Presence(EpochOf(word), false)
                   : (presence & 1) != 0) {
      held[core] = kHeld;
    }
  }
  return held;
}

bool Link::Answered(const HeldCores& held) const {
  for (CoreId core = 0; core < cpus_.size(); ++core) {
    if (held[core] != 0 && CommandOf(Word(core)) == Command::kAway)
      return false;
  }
  return true;
}

Result<void> Link::SendWorkers(std::span<const int> tids) {
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

bool Link::MayCome(CoreId core, uint32_t word) const {
  if (CommandOf(word) == Command::kGranted) return true;
  // Relaxed: written before the word. Acquire: pairs with Leave() of the other.
  return CommandOf(word) == Command::kNext &&
         handover_[core].left.load(std::memory_order_acquire) ==
             Slot(core).after.load(std::memory_order_relaxed);
}

void Link::Come(CoreId core, uint32_t word) {
  // Relaxed: it says nothing about anything else.
  signals_[core].presence.store(Presence(EpochOf(word), true),
                                std::memory_order_relaxed);
}

void Link::Leave(CoreId core, uint32_t word) {
  // Release: pairs with the arbiter's acquire.
  signals_[core].presence.store(Presence(EpochOf(word), false),
                                std::memory_order_release);
  // Release: pairs with MayCome() of the heir.
  handover_[core].left.store(
      Departure(app_.load(std::memory_order_relaxed), EpochOf(word)),
      std::memory_order_release);
  if (CommandOf(word) != Command::kRevoked) return;
  // Relaxed: written before the word, which was read with acquire.
  const uint32_t heir = Slot(core).heir.load(std::memory_order_relaxed);
  if (heir < kMostApps) Futex(Slot(heir, core).word, FUTEX_WAKE, INT_MAX);
}

void Link::Rest(CoreId core, uint32_t word) {
  // Release: as in Leave(). Not into the handover: an heir may be told to come after us
  // before we are told to leave.
  signals_[core].presence.store(Presence(EpochOf(word), false),
                                std::memory_order_release);
}

void Link::Return(CoreId core, uint32_t word) {
  Come(core, word);
  // Before the look; pairs with Arbiter::Revoke().
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Link::Sleep(CoreId core, uint32_t word,
                 const std::atomic<uint32_t>& visits, uint32_t seen) const {
  if (!g_one_word.load(std::memory_order_relaxed)) {
    const std::array<futex_waitv, 2> both{
        Awaited(Slot(core).word, word, 0),
        Awaited(visits, seen, FUTEX_PRIVATE_FLAG)};
    timespec until{};
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ToNanos(kLongestSleep);
    if (until.tv_nsec >= 1'000'000'000) {
      until.tv_nsec -= 1'000'000'000;
      ++until.tv_sec;
    }
    if (syscall(SYS_futex_waitv, both.data(), both.size(), 0, &until,
                CLOCK_MONOTONIC) >= 0 ||
        (errno != ENOSYS && errno != EPERM))
      return;
    // Not in this kernel, or its sandbox does not know it.
    g_one_word.store(true, std::memory_order_relaxed);
  }
  constexpr timespec kLongest{.tv_sec = 0, .tv_nsec = ToNanos(kLongestSleep)};
  Futex(Slot(core).word, FUTEX_WAIT, word, &kLongest);
}

void Link::Visit(CoreId core, std::atomic<uint32_t>& visits) const {
  visits.fetch_add(1);
  if (g_one_word.load(std::memory_order_relaxed)) return Wake(core);
  Futex(visits, FUTEX_WAKE_PRIVATE, INT_MAX);
}

void Link::Wake(CoreId core) const {
  Futex(Slot(core).word, FUTEX_WAKE, INT_MAX);
}

void Link::KickIf(uint32_t least) {
  // What was shown comes first. Pairs with Board::SetSleeping().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (lost_.load(std::memory_order_relaxed)) return;
  if (board_->sleeping.load(std::memory_order_seq_cst) < least) return;
  Kick kick{};
  kick.header = {.magic = kMagic, .version = kVersion, .kind = Kind::kKick};
  // If it does not fit there are unread ones, and if nobody is there it is in vain.
  (void)send(socket_, &kick, sizeof(kick), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace yamanote::arbiter
