// server.cc - connections, and what applications send over them.

#include "arbiter/server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

namespace yamanote::arbiter {
namespace {

// What an event is about: a connection's socket or process, by generation, or one of
// the two others.
constexpr uint64_t kListener = UINT64_MAX;
constexpr uint64_t kEnd = UINT64_MAX - 1;
constexpr uint64_t kProcess = uint64_t{1} << 31;

// Messages of one peer, and new connections, in a row.
constexpr int kInARow = 32;
// How often timeouts and pauses are looked at.
constexpr Duration kTendInterval = std::chrono::milliseconds(5);

// A unit of the budget is 200 us of refilling, so 5,000 kicks a second are free.
int64_t Price(Kind kind) {
  switch (kind) {
    case Kind::kKick:
      return 1;
    case Kind::kList:
      return 20;
    default:
      return 10;
  }
}

void SendWelcome(int socket, const Welcome& welcome, std::span<const int> fds) {
  iovec part{.iov_base = const_cast<Welcome*>(&welcome),
             .iov_len = sizeof welcome};
  alignas(cmsghdr) char control[CMSG_SPACE(3 * sizeof(int))]{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  // Who does not read it does not get it.
  static_cast<void>(sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

}  // namespace

Server::Server(ServerOptions&& options, Arbiter& arbiter,
               const Descriptors& shared, Kernel& kernel)
    : options_(std::move(options)),
      arbiter_(arbiter),
      kernel_(kernel),
      shared_(shared) {}

Result<std::unique_ptr<Server>> Server::Create(ServerOptions options,
                                               Arbiter& arbiter,
                                               const Descriptors& shared,
                                               Kernel& kernel) {
  std::unique_ptr<Server> server(
      new Server(std::move(options), arbiter, shared, kernel));
  const Result<void> listening = server->Listen();
  if (!listening) return tl::unexpected(listening.error());
  return server;
}

Server::~Server() {
  for (unsigned index = 0; index < kMostConnections; ++index) {
    Connection& connection = connections_[index];
    // Not Close(): applications keep what they hold.
    if (connection.socket >= 0) close(connection.socket);
  }
  if (bound_) unlink(options_.path.c_str());
  for (const int fd : {listener_, epoll_, spare_, lock_}) {
    if (fd >= 0) close(fd);
  }
}

// ---- Events -----------------------------------------------------------------

bool Server::Add(int descriptor, uint64_t data, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = data;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

Result<void> Server::Watch(int end) {
  if (Add(end, kEnd, EPOLLIN)) return {};
  return MakeError(ErrorCode::kResourceExhausted,
                   "the descriptor that ends the arbiter cannot be watched",
                   errno);
}

Server::Heard Server::Wait(Duration patience) {
  Heard heard;
  // A pause or a timeout ends in between.
  if (open_ != 0 || !accepts_) {
    bool tends = !accepts_;
    for (const Connection& connection : connections_) {
      tends = tends || connection.paused ||
              (connection.socket >= 0 && connection.app == kNobody);
    }
    if (tends) patience = std::min(patience, kTendInterval);
  }
  patience = std::clamp(patience, Duration::zero(),
                        Duration(std::chrono::seconds(60)));
  std::array<epoll_event, 32> events;
  const timespec time{.tv_sec = patience.count() / 1'000'000'000,
                      .tv_nsec = patience.count() % 1'000'000'000};
  int count = epoll_pwait2(epoll_, events.data(),
                           static_cast<int>(events.size()), &time, nullptr);
  if (count < 0 && errno == ENOSYS) {  // Before Linux 5.11: whole milliseconds.
    const auto whole = std::chrono::ceil<std::chrono::milliseconds>(patience);
    count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()),
                       static_cast<int>(whole.count()));
  }
  const Duration now = kernel_.Now();
  for (int i = 0; i < count; ++i) {
    const uint64_t data = events[static_cast<std::size_t>(i)].data.u64;
    if (data == kListener) {
      Accept(now);
      continue;
    }
    if (data == kEnd) {
      heard.ended = true;
      continue;
    }
    const auto index = static_cast<unsigned>(data & (kProcess - 1));
    Connection& connection = connections_[index];
    // An event of one that has been closed just now.
    if (connection.socket < 0 || connection.generation != data >> 32) continue;
    // Its process has ended; or, while it is not read, it has hung up. What it had sent
    // is not heard any more.
    if ((data & kProcess) != 0 || connection.paused) {
      heard.kicked = heard.kicked || connection.app != kNobody;
      Close(index);
    } else {
      Read(index, now, heard);
    }
  }
  if (now - tended_ >= kTendInterval) {
    tended_ = now;
    Tend(now, heard);
  }
  return heard;
}

// What only time ends.
void Server::Tend(Duration now, Heard& heard) {
  if (!accepts_ && !arrivals_.Empty(now))
    accepts_ = Add(listener_, kListener, EPOLLIN);
  for (unsigned index = 0; index < kMostConnections; ++index) {
    Connection& connection = connections_[index];
    if (connection.socket < 0) continue;
    if (connection.app == kNobody &&
        now - connection.since >= options_.hello_timeout) {
      Close(index);
    } else if (connection.paused && !connection.budget.Empty(now)) {
      Pause(index, false);
      Read(index, now, heard);
    }
  }
}

void Server::Pause(unsigned index, bool paused) {
  Connection& connection = connections_[index];
  connection.paused = paused;
  epoll_event event{};
  // That it has hung up is told all the same.
  event.events = paused ? 0u : static_cast<uint32_t>(EPOLLIN);
  event.data.u64 = uint64_t{connection.generation} << 32 | index;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.socket, &event);
}

// ---- Connections ------------------------------------------------------------

void Server::Accept(Duration now) {
  for (int i = 0; i < kInARow; ++i) {
    if (arrivals_.Empty(now)) {
      epoll_ctl(epoll_, EPOLL_CTL_DEL, listener_, nullptr);
      accepts_ = false;
      return;
    }
    int socket =
        accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket < 0 && (errno == EMFILE || errno == ENFILE) && spare_ >= 0) {
      // Refused by the spare one; else it would be announced again and again.
      close(spare_);
      socket =
          accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (socket >= 0) {
        Refuse(socket, {ErrorCode::kResourceExhausted,
                        "the arbiter has no descriptor left; try again later, "
                        "or start yamanoted with a higher `ulimit -n`",
                        EMFILE});
      }
      spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
      arrivals_.Spend(20, now);
      continue;
    }
    if (socket < 0) {
      // None is left; or none can be had, not even by the spare one.
      if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        arrivals_.Spend(20, now);
      return;
    }
    arrivals_.Spend(1, now);
    Take(socket, now);
  }
}

void Server::Take(int socket, Duration now) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    close(socket);
    return;
  }
  unsigned index = kMostConnections;
  unsigned of_user = 0;
  for (unsigned i = 0; i < kMostConnections; ++i) {
    if (connections_[i].socket < 0) {
      index = std::min(index, i);
    } else if (connections_[i].uid == peer.uid) {
      ++of_user;
    }
  }
  const Right& right = options_.rights.Of(peer.uid);
  // Two beyond its applications, to list them.
  const unsigned limit = std::min(right.apps, kMostConnections) + 2;
  if (index == kMostConnections || of_user >= limit) {
    return Refuse(
        socket,
        {ErrorCode::kResourceExhausted,
         "there are " + std::to_string(open_) + " connections of " +
             std::to_string(kMostConnections) + ", " + std::to_string(of_user) +
             " of user " + std::to_string(peer.uid) + "'s " +
             std::to_string(limit) + "; close some",
         EAGAIN});
  }
  Connection& connection = connections_[index];
  const uint32_t generation = connection.generation + 1;
  connection = Connection{};
  connection.generation = generation & INT32_MAX;
  Result<Process> process = Process::Open(peer.pid, peer.uid);
  if (!process) return Refuse(socket, process.error());
  connection.socket = socket;
  connection.since = now;
  connection.pid = peer.pid;
  connection.uid = peer.uid;
  connection.process = std::move(*process);
  ++open_;
  const uint64_t data = uint64_t{connection.generation} << 32 | index;
  if (!Add(socket, data, EPOLLIN) ||
      !Add(connection.process.descriptor, data | kProcess, EPOLLIN))
    Close(index);
}

// Says why, and closes.
void Server::Refuse(int socket, const Error& error) {
  Welcome& welcome = welcome_[0];
  welcome = {};
  welcome.header = {kMagic, kVersion, Kind::kWelcome};
  welcome.error = error.system_errno != 0
                      ? static_cast<uint32_t>(error.system_errno)
                      : EINVAL;
  const std::size_t length =
      std::min(error.message.size(), sizeof welcome.message - 1);
  std::memcpy(welcome.message, error.message.data(), length);
  // What is unread when a socket is closed makes the peer see an error instead.
  char unread[64];
  for (int i = 0; i < kInARow; ++i) {
    if (recv(socket, unread, sizeof unread, MSG_DONTWAIT) <= 0) break;
  }
  SendWelcome(socket, welcome, {});
  close(socket);
}

void Server::Close(unsigned index) {
  Connection& connection = connections_[index];
  const AppId app = std::exchange(connection.app, kNobody);
  // Out of epoll, which would keep it while somebody else has the process's descriptor.
  const int process = app == kNobody ? connection.process.descriptor
                                     : arbiter_.process(app).descriptor;
  if (process >= 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, process, nullptr);
  if (app != kNobody) arbiter_.Remove(app);
  if (connection.socket >= 0) {
    epoll_ctl(epoll_, EPOLL_CTL_DEL, connection.socket, nullptr);
    close(connection.socket);
  }
  connection.socket = -1;
  connection.process = Process();
  connection.signals = SharedMemory();
  --open_;
}

// ---- Messages ---------------------------------------------------------------

void Server::Read(unsigned index, Duration now, Heard& heard) {
  Connection& connection = connections_[index];
  alignas(8) std::array<std::byte, kLongestMessage + 1> buffer;
  for (int i = 0; i < kInARow; ++i) {
    if (connection.budget.Empty(now)) return Pause(index, true);
    // No room for descriptors: the kernel closes those that come along.
    const ssize_t length =
        recv(connection.socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
    // 0: it has hung up, or sent nothing, which is no message.
    if (length <= 0) {
      heard.kicked = heard.kicked || connection.app != kNobody;
      return Close(index);
    }
    const std::span message(buffer.data(), static_cast<std::size_t>(length));
    if (!Handle(index, message, now, heard)) return;
  }
}

// False: the connection is closed.
bool Server::Handle(unsigned index, std::span<const std::byte> message,
                    Duration now, Heard& heard) {
  Connection& connection = connections_[index];
  const Result<Kind> kind = ReadKind(message);
  Result<void> heard_well;
  if (kind) {
    connection.budget.Spend(Price(*kind) * Sharers(connection.uid), now);
    heard_well = Hear(connection, message, heard);
  } else {
    heard_well = tl::unexpected(kind.error());
  }
  if (heard_well) return true;
  heard.kicked = heard.kicked || connection.app != kNobody;
  const int socket = std::exchange(connection.socket, -1);
  epoll_ctl(epoll_, EPOLL_CTL_DEL, socket, nullptr);
  Refuse(socket, heard_well.error());
  Close(index);
  return false;
}

// A user's connections share one budget, unless he may stop us anyway.
int64_t Server::Sharers(uid_t uid) const {
  if (uid == 0 || uid == geteuid()) return 1;
  return std::ranges::count_if(connections_, [uid](const Connection& one) {
    return one.socket >= 0 && one.uid == uid;
  });
}

Result<void> Server::Hear(Connection& connection,
                          std::span<const std::byte> message, Heard& heard) {
  switch (*ReadKind(message)) {
    case Kind::kKick:
      heard.kicked = heard.kicked || connection.app != kNobody;
      return {};
    case Kind::kHello:
      heard.kicked = true;
      return Register(connection, message);
    case Kind::kWorkers: {
      if (connection.app == kNobody) {
        return MakeError(ErrorCode::kInvalidArgument,
                         "Workers came before Hello; say Hello first", EINVAL);
      }
      const auto tids = ReadWorkers(message, arbiter_.cores());
      if (!tids) return tl::unexpected(tids.error());
      heard.kicked = true;
      return arbiter_.SetWorkers(connection.app, *tids);
    }
    default: {  // kList
      const std::string text =
          options_.list ? options_.list(arbiter_.status()) : "{}";
      std::vector<std::byte> answer(sizeof(Header) + text.size());
      const Header header{kMagic, kVersion, Kind::kText};
      std::memcpy(answer.data(), &header, sizeof header);
      std::memcpy(answer.data() + sizeof header, text.data(), text.size());
      if (send(connection.socket, answer.data(), answer.size(),
               MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return {};
      return MakeError(ErrorCode::kResourceExhausted,
                       "the list has " + std::to_string(text.size()) +
                           " bytes, which the connection does not take; read "
                           "the earlier answers first",
                       errno);
    }
  }
}

Result<void> Server::Register(Connection& connection,
                              std::span<const std::byte> message) {
  if (connection.app != kNobody) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "a second Hello; a connection is one application, open "
                     "another one",
                     EINVAL);
  }
  Result<Applicant> applicant = ReadHello(message, arbiter_.cores());
  if (!applicant) return tl::unexpected(applicant.error());
  std::vector<Limits> present;
  for (const Connection& other : connections_) {
    if (other.app != kNobody && other.uid == connection.uid)
      present.push_back(arbiter_.allocator().limits(other.app));
  }
  Hello hello;
  std::memcpy(&hello, message.data(), sizeof hello);
  const Result<Limits> limits = options_.rights.Check(
      connection.uid, present, applicant->limits, hello.most == 0);
  if (!limits) return tl::unexpected(limits.error());
  applicant->limits = *limits;
  Result<SharedMemory> signals = SharedMemory::Create(
      "yamanote-signals", kSignalsBytes, SharedMemory::Writer::kTheirs);
  if (!signals) return tl::unexpected(signals.error());
  connection.signals = std::move(*signals);
  applicant->signals =
      static_cast<const CoreSignals*>(connection.signals.data());
  const CorePolicyInfo& policy = *applicant->policy;
  const bool parks = policy.parks || options_.always_park;
  applicant->parks = parks;
  const unsigned guaranteed = applicant->limits.guaranteed;
  const AppId app =
      arbiter_.Add(std::move(*applicant), std::move(connection.process));
  if (app == kNobody) {
    // The process is where it was only if it was not taken.
    const unsigned left = arbiter_.cores() - arbiter_.allocator().guaranteed();
    return MakeError(
        ErrorCode::kResourceExhausted,
        guaranteed > left
            ? "guaranteed = " + std::to_string(guaranteed) + ", but " +
                  std::to_string(left) +
                  " cores are not guaranteed yet; ask for fewer, or end who "
                  "has them (`yamanote apps`)"
            : "there are " + std::to_string(kMostApps) +
                  " applications, which is the most; end some",
        ENOSPC);
  }
  connection.app = app;
  Welcome& welcome = welcome_[0];
  welcome = {};
  welcome.header = {kMagic, kVersion, Kind::kWelcome};
  welcome.app = app;
  welcome.cores = arbiter_.cores();
  for (CoreId core = 0; core < arbiter_.cores(); ++core) {
    welcome.cpus[core] = arbiter_.cpu(core);
    welcome.home[core] = arbiter_.allocator().home(core) == app ? 1 : 0;
  }
  welcome.timed = policy.reads_oldest ? 1 : 0;
  welcome.parks = parks ? 1 : 0;
  welcome.park_after_ns = options_.park_after.count();
  const std::array<int, 3> descriptors{connection.signals.descriptor(),
                                       shared_.board, shared_.handover};
  SendWelcome(connection.socket, welcome, descriptors);
  return {};
}

}  // namespace yamanote::arbiter
