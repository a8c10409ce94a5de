// driver.cc - the polling loop of the load generator.

#include "tools/load/driver.h"

#include <sys/epoll.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>

#include "base/check.h"

namespace yamanote::load {
namespace {

// A pass writes to a few sockets before it looks for answers: more would make it
// late by itself. When it is late already, one write carries all that is due on its
// socket, so that it catches up.
constexpr size_t kSendSockets = 16;     // Written to in a pass.
constexpr size_t kSendBatch = 128;      // Requests encoded in a pass.
constexpr size_t kSendMessages = 8;     // Datagrams of one sendmmsg.
constexpr size_t kReceiveMessages = 8;  // Datagrams of one recvmmsg.
constexpr int kEvents = 16;
constexpr size_t kScratchBytes = 64 << 10;
constexpr int64_t kWindowStallNanos = 500'000'000;

}  // namespace

// A request in a connection's buffer; `end` counts all bytes ever appended.
struct Driver::Pending {
  uint32_t index;
  uint64_t end;
};

struct Driver::Connection {
  Descriptor fd{};
  Lane lane{};
  std::string out{};     // Bytes not yet taken by the kernel, and some before.
  size_t out_begin = 0;  // Of `out`: the first byte not taken.
  uint64_t taken = 0;    // All bytes ever taken or compacted away.
  uint64_t appended = 0;
  std::deque<Pending> pending{};
  bool dirty = false;
  bool watching = false;
};

Driver::Driver(const DriverOptions& options, Descriptor epoll,
               std::vector<Descriptor> connections, std::unique_ptr<Wire> wire,
               std::vector<Sample> samples)
    : options_(options),
      connections_(connections.size()),
      wire_(std::move(wire)),
      ledger_(std::move(samples)),
      gaps_(ToNanos(options.gap_threshold)),
      epoll_(std::move(epoll)),
      open_(connections.size()),
      scratch_(kScratchBytes * kReceiveMessages) {
  const auto& all = ledger_.samples();
  end_ns_ = all.empty() ? 0 : all.back().intended_ns;
  for (size_t i = 0; i < connections.size(); ++i) {
    Connection& connection = connections_[i];
    connection.fd = std::move(connections[i]);
    connection.lane.number = static_cast<uint32_t>(i);
    connection.lane.order.reserve(all.size() / connections.size() * 5 / 4 + 16);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = static_cast<uint32_t>(i);
    const int added =
        epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection.fd.get(), &event);
    YAMANOTE_CHECK(added == 0, "epoll_ctl failed for a fresh socket");
  }
}

Driver::~Driver() = default;

int64_t Driver::Look() {
  const int64_t now_ns = ToNanos(Clock::now() - start_);
  gaps_.Tick(now_ns);
  return now_ns;
}

ThreadLog Driver::Run(Instant start) {
  start_ = start;
  size_t reported = 0;
  bool stopped = false;
  while (true) {
    const int64_t now_ns = Look();
    CountBusy(now_ns);
    if (options_.stop != nullptr &&
        // Only asks the loop to end; no data hangs on it.
        options_.stop->load(std::memory_order_relaxed)) {
      stopped = true;
      break;
    }
    QueueDue(now_ns);
    Flush();
    Receive();
    if (options_.progress != nullptr && next_ - reported >= 256) {
      // A display reads it; it orders nothing.
      options_.progress->fetch_add(next_ - reported, std::memory_order_relaxed);
      reported = next_;
    }
    if (Finished(now_ns)) break;
  }
  ThreadLog log;
  log.counters = ledger_.counters();
  log.samples = ledger_.TakeSamples();
  log.gaps = std::move(gaps_);
  log.busy = end_ns_ > 0
                 ? static_cast<double>(busy_ns_) / static_cast<double>(end_ns_)
                 : 0;
  log.stopped = stopped;
  return log;
}

// The drain is not counted: what overflows into it says nothing about the load.
void Driver::CountBusy(int64_t now_ns) {
  const int64_t until_ns = std::min(now_ns, end_ns_);
  if (pass_worked_ && until_ns > pass_start_ns_)
    busy_ns_ += until_ns - pass_start_ns_;
  pass_start_ns_ = std::max<int64_t>(now_ns, 0);  // Begins before instant 0.
  pass_worked_ = false;
}

bool Driver::Finished(int64_t now_ns) {
  const size_t total = ledger_.samples().size();
  if (open_ == 0) return true;
  if (options_.window > 0) {
    // A closed loop has no schedule; it gives up when answers stop coming.
    if (next_ == total && ledger_.outstanding() == 0) return true;
    return now_ns - end_ns_ > kWindowStallNanos;
  }
  if (next_ < total) return false;
  bool unsent = false;
  for (const Connection& connection : connections_)
    unsent |= !connection.pending.empty();
  if (ledger_.outstanding() == 0 && !unsent) return true;
  return now_ns > end_ns_ + ToNanos(options_.drain);
}

void Driver::QueueDue(int64_t now_ns) {
  const auto& samples = ledger_.samples();
  for (size_t batch = 0; batch < kSendBatch && next_ < samples.size();
       ++batch) {
    const Sample& sample = samples[next_];
    if (options_.window > 0) {
      // What this pass queued counts as if it were sent.
      if (ledger_.outstanding() + dirty_.size() + batch >= options_.window)
        return;
      end_ns_ = now_ns;
    } else if (sample.intended_ns > now_ns) {
      return;
    }
    const auto index = static_cast<uint32_t>(next_);
    Connection& connection = connections_[sample.connection / options_.threads %
                                          connections_.size()];
    if (!connection.dirty && dirty_.size() >= kSendSockets) return;
    ++next_;
    if (!connection.fd.open() ||
        connection.out.size() - connection.out_begin > kMaxBacklogBytes) {
      continue;  // Never sent: lost.
    }
    const size_t before = connection.out.size();
    wire_->Encode(sample, index, connection.lane, connection.out);
    connection.appended += connection.out.size() - before;
    connection.pending.push_back({index, connection.appended});
    if (!connection.dirty) {
      connection.dirty = true;
      dirty_.push_back(connection.lane.number);
    }
  }
}

void Driver::Flush() {
  pass_worked_ |= !dirty_.empty();
  for (size_t i = 0; i < dirty_.size();) {
    Connection& connection = connections_[dirty_[i]];
    if (options_.transport == Transport::kTcp) {
      FlushStream(connection);
    } else {
      FlushDatagrams(connection);
    }
    CompactOut(connection);
    // What the kernel did not take: TCP waits for EPOLLOUT, UDP tries again.
    if (connection.pending.empty() || connection.watching ||
        !connection.fd.open()) {
      connection.dirty = false;
      dirty_[i] = dirty_.back();
      dirty_.pop_back();
    } else {
      ++i;
    }
  }
}

void Driver::CompactOut(Connection& connection) {
  if (connection.out_begin == connection.out.size()) {
    connection.out.clear();
    connection.out_begin = 0;
  } else if (connection.out_begin > kScratchBytes) {
    connection.out.erase(0, connection.out_begin);
    connection.out_begin = 0;
  }
}

void Driver::FlushStream(Connection& connection) {
  const int64_t before_ns = Look();
  const ssize_t sent =
      send(connection.fd.get(), connection.out.data() + connection.out_begin,
           connection.out.size() - connection.out_begin, MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ||
        errno == ENOBUFS) {
      WatchWritable(connection, true);
    } else {
      CloseConnection(connection);
    }
    return;
  }
  connection.out_begin += static_cast<size_t>(sent);
  connection.taken += static_cast<size_t>(sent);
  while (!connection.pending.empty() &&
         connection.pending.front().end <= connection.taken) {
    ledger_.MarkSent(connection.pending.front().index, before_ns);
    connection.pending.pop_front();
  }
  WatchWritable(connection, !connection.pending.empty());
}

void Driver::FlushDatagrams(Connection& connection) {
  while (!connection.pending.empty()) {
    std::array<mmsghdr, kSendMessages> messages{};
    std::array<iovec, kSendMessages> parts{};
    const size_t count = std::min(kSendMessages, connection.pending.size());
    uint64_t begin = connection.taken;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t end = connection.pending[i].end;
      parts[i] = {connection.out.data() + connection.out_begin +
                      (begin - connection.taken),
                  static_cast<size_t>(end - begin)};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      begin = end;
    }
    const int64_t before_ns = Look();
    int sent = sendmmsg(connection.fd.get(), messages.data(),
                        static_cast<unsigned>(count), MSG_NOSIGNAL);
    const bool again = sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK ||
                                    errno == ENOBUFS || errno == EINTR);
    if (again) return;
    // Any other error is of the first datagram (too long), or an earlier one's
    // that was refused (nobody listens): it is spent, and its request lost.
    sent = std::max(sent, 1);
    for (int i = 0; i < sent; ++i) {
      const Pending& done = connection.pending.front();
      ledger_.MarkSent(done.index, before_ns);
      connection.out_begin += done.end - connection.taken;
      connection.taken = done.end;
      connection.pending.pop_front();
    }
  }
}

void Driver::Receive() {
  std::array<epoll_event, kEvents> events;
  const int count = epoll_wait(epoll_.get(), events.data(), kEvents, 0);
  pass_worked_ |= count > 0;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    Connection& connection = connections_[event.data.u32];
    if (!connection.fd.open()) continue;
    if ((event.events & EPOLLOUT) != 0) {
      FlushStream(connection);
      CompactOut(connection);
      if (!connection.fd.open()) continue;
    }
    if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) continue;
    if (options_.transport == Transport::kTcp) {
      ReceiveStream(connection);
    } else {
      ReceiveDatagrams(connection);
    }
  }
}

void Driver::ReceiveStream(Connection& connection) {
  const ssize_t received =
      recv(connection.fd.get(), scratch_.data(), kScratchBytes, 0);
  ledger_.SetNow(Look());
  if (received < 0 &&
      (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
    return;
  if (received <= 0) return CloseConnection(connection);
  const std::string_view bytes(scratch_.data(), static_cast<size_t>(received));
  if (!wire_->Read(connection.lane, bytes, ledger_))
    return CloseConnection(connection);
  if (options_.window > 0) end_ns_ = Look();
}

void Driver::ReceiveDatagrams(Connection& connection) {
  std::array<mmsghdr, kReceiveMessages> messages{};
  std::array<iovec, kReceiveMessages> parts{};
  for (size_t i = 0; i < kReceiveMessages; ++i) {
    parts[i] = {scratch_.data() + i * kScratchBytes, kScratchBytes};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  // An error (the port refused an earlier datagram) is read and so cleared here.
  const int count = recvmmsg(connection.fd.get(), messages.data(),
                             kReceiveMessages, MSG_DONTWAIT, nullptr);
  ledger_.SetNow(Look());
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    wire_->Read(connection.lane,
                {scratch_.data() + at * kScratchBytes, messages[at].msg_len},
                ledger_);
  }
  if (count > 0 && options_.window > 0) end_ns_ = Look();
}

void Driver::WatchWritable(Connection& connection, bool wanted) {
  if (connection.watching == wanted) return;
  epoll_event event{};
  event.events = wanted ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.u32 = connection.lane.number;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd.get(), &event);
  connection.watching = wanted;
}

void Driver::CloseConnection(Connection& connection) {
  ++ledger_.counters().closed_connections;
  ledger_.CloseLane(connection.lane);
  connection.fd.Close();  // Leaves the epoll set with its last descriptor.
  connection.pending.clear();
  connection.out.clear();
  connection.out_begin = 0;
  --open_;
}

}  // namespace yamanote::load
