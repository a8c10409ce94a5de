// memory.cc - streams and datagrams that a queue of virtual-time events moves.

#include "io/memory.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace yamanote::io {
namespace {

// One end of a connection. What it receives is written by the other end.
struct End {
  std::deque<std::byte> readable;  // Arrived and not read.
  size_t in_flight = 0;            // Written by the other end, not arrived.
  bool write_blocked = false;  // This end found no room and awaits EPOLLOUT.
  bool shut = false;           // This end has called ShutdownWrite().
  bool end_arrived = false;    // The other end's shutdown has.
  bool closed = false;         // This end was destroyed.
  int error = 0;               // The connection is broken.
  EventHandler* handler = nullptr;
};

}  // namespace

// Shared by both streams and by the events under way.
struct MemoryConnection {
  End ends[2];
};

class MemoryStream final : public ByteStream {
 public:
  using ByteStream::Write;

  MemoryStream(MemoryNetwork& network,
               std::shared_ptr<MemoryConnection> connection, int side)
      : network_(network), connection_(std::move(connection)), side_(side) {}
  ~MemoryStream() override;

  Transfer Read(std::span<std::byte> buffer) override;
  Transfer Write(std::span<const ConstBytes> parts) override;
  void ShutdownWrite() override;
  Result<void> Watch(EventHandler& handler) override;
  void Unwatch() override { mine().handler = nullptr; }

  void Break(int error);

 private:
  End& mine() { return connection_->ends[side_]; }
  End& other() { return connection_->ends[1 - side_]; }

  // Runs `change` on the connection `delay` from now, then tells the handler of
  // `side`, if it has one by then, of the events that `change` returns.
  void Later(Duration delay, int side,
             std::function<uint32_t(MemoryConnection&)> change);
  size_t Move(std::span<const ConstBytes> parts, size_t limit);

  MemoryNetwork& network_;
  const std::shared_ptr<MemoryConnection> connection_;
  const int side_;
};

MemoryStream::~MemoryStream() {
  YAMANOTE_CHECK(mine().handler == nullptr,
                 "a stream was destroyed before Unwatch()");
  mine().closed = true;
  if (mine().error != 0) return;
  if (mine().readable.empty() && mine().in_flight == 0) {
    ShutdownWrite();
  } else {
    Break(ECONNRESET);  // As a kernel does when unread bytes are thrown away.
  }
}

void MemoryStream::Later(Duration delay, int side,
                         std::function<uint32_t(MemoryConnection&)> change) {
  network_.At(network_.now() + delay,
              [connection = connection_, side, change = std::move(change)] {
                const uint32_t events = change(*connection);
                EventHandler* const handler = connection->ends[side].handler;
                if (events != 0 && handler != nullptr)
                  handler->OnEvents(events);
              });
}

Transfer MemoryStream::Read(std::span<std::byte> buffer) {
  YAMANOTE_CHECK(!buffer.empty(), "a read of nothing");
  End& end = mine();
  if (end.error != 0) return {Transfer::Status::kError, end.error, 0};
  if (end.readable.empty()) {
    return {end.end_arrived ? Transfer::Status::kEnd
                            : Transfer::Status::kWouldBlock,
            0, 0};
  }
  const auto still_readable = [](MemoryConnection&) -> uint32_t {
    return EPOLLIN;
  };
  if (network_.Chance(network_.options_.would_block)) {
    Later(network_.options_.latency, side_, still_readable);
    return {};
  }
  size_t count = std::min(buffer.size(), end.readable.size());
  if (count > 1 && network_.Chance(network_.options_.short_read)) {
    count = 1 + network_.random_.Below(count - 1);
    // A reader may take a short read for an empty buffer, as epoll(7) allows.
    Later(network_.options_.latency, side_, still_readable);
  }
  const auto stop = end.readable.begin() + static_cast<std::ptrdiff_t>(count);
  std::copy(end.readable.begin(), stop, buffer.begin());
  end.readable.erase(end.readable.begin(), stop);
  if (other().write_blocked) {
    other().write_blocked = false;
    Later(network_.options_.latency, 1 - side_,
          [](MemoryConnection&) -> uint32_t { return EPOLLOUT; });
  }
  return {Transfer::Status::kDone, 0, count};
}

// Sends the first `limit` bytes of `parts` on their way; returns how many there
// were.
size_t MemoryStream::Move(std::span<const ConstBytes> parts, size_t limit) {
  std::vector<std::byte> bytes;
  for (const ConstBytes part : parts) {
    const ConstBytes taken =
        part.first(std::min(part.size(), limit - bytes.size()));
    bytes.insert(bytes.end(), taken.begin(), taken.end());
  }
  const size_t count = bytes.size();
  other().in_flight += count;
  Later(network_.options_.latency, 1 - side_,
        [to = 1 - side_,
         bytes = std::move(bytes)](MemoryConnection& connection) -> uint32_t {
          End& end = connection.ends[to];
          end.in_flight -= bytes.size();
          if (end.error != 0 || end.closed) return 0;
          end.readable.insert(end.readable.end(), bytes.begin(), bytes.end());
          return EPOLLIN;
        });
  return count;
}

Transfer MemoryStream::Write(std::span<const ConstBytes> parts) {
  if (mine().error != 0) return {Transfer::Status::kError, mine().error, 0};
  if (mine().shut) return {Transfer::Status::kError, EPIPE, 0};
  parts = parts.first(std::min(parts.size(), kMaxWriteParts));
  size_t wanted = 0;
  for (const ConstBytes part : parts) wanted += part.size();
  YAMANOTE_CHECK(wanted > 0, "a write of nothing");
  if (network_.Chance(network_.options_.reset)) {
    ++network_.stats_.resets;
    Break(ECONNRESET);
    return {Transfer::Status::kError, ECONNRESET, 0};
  }
  if (other().closed) {
    // The bytes reach nobody; the answer is a reset.
    Later(2 * network_.options_.latency, side_,
          [side = side_](MemoryConnection& connection) -> uint32_t {
            connection.ends[side].error = ECONNRESET;
            return EPOLLIN | EPOLLERR | EPOLLHUP;
          });
    return {Transfer::Status::kDone, 0, wanted};
  }
  const size_t used = other().readable.size() + other().in_flight;
  const size_t room = network_.options_.buffer_bytes - used;
  if (room == 0) {
    mine().write_blocked = true;
    return {};
  }
  const auto still_writable = [](MemoryConnection&) -> uint32_t {
    return EPOLLOUT;
  };
  if (network_.Chance(network_.options_.would_block)) {
    Later(network_.options_.latency, side_, still_writable);
    return {};
  }
  size_t count = std::min(wanted, room);
  if (count > 1 && network_.Chance(network_.options_.short_write)) {
    count = 1 + network_.random_.Below(count - 1);
    Later(network_.options_.latency, side_, still_writable);
  } else if (count < wanted) {
    mine().write_blocked = true;
  }
  return {Transfer::Status::kDone, 0, Move(parts, count)};
}

void MemoryStream::ShutdownWrite() {
  if (mine().shut || mine().error != 0) return;
  mine().shut = true;
  Later(network_.options_.latency, 1 - side_,
        [to = 1 - side_](MemoryConnection& connection) -> uint32_t {
          End& end = connection.ends[to];
          end.end_arrived = true;
          return EPOLLIN | EPOLLRDHUP | (end.shut ? uint32_t{EPOLLHUP} : 0);
        });
}

Result<void> MemoryStream::Watch(EventHandler& handler) {
  YAMANOTE_CHECK(mine().handler == nullptr,
                 "a stream has one handler at a time");
  mine().handler = &handler;
  Later(Duration::zero(), side_, [side = side_](MemoryConnection& connection) {
    const End& end = connection.ends[side];
    uint32_t events = EPOLLOUT;
    if (!end.readable.empty() || end.end_arrived) events |= EPOLLIN;
    if (end.end_arrived) events |= EPOLLRDHUP;
    if (end.error != 0) events |= EPOLLIN | EPOLLERR | EPOLLHUP;
    return events;
  });
  return {};
}

void MemoryStream::Break(int error) {
  const auto fail = [error](End& end) {
    end.error = error;
    end.readable.clear();
  };
  fail(mine());
  Later(network_.options_.latency, 1 - side_,
        [to = 1 - side_, fail](MemoryConnection& connection) -> uint32_t {
          fail(connection.ends[to]);
          return EPOLLIN | EPOLLERR | EPOLLHUP;
        });
}

MemoryNetwork::MemoryNetwork(MemoryOptions options)
    : options_(options), random_(options.seed) {
  YAMANOTE_CHECK(options.buffer_bytes > 0 && options.datagram_queue > 0,
                 "a network without buffers moves nothing");
}

MemoryNetwork::~MemoryNetwork() {
  YAMANOTE_CHECK(sockets_.empty(), "a datagram socket outlives its network");
}

std::pair<std::unique_ptr<ByteStream>, std::unique_ptr<ByteStream>>
MemoryNetwork::Connect() {
  const auto connection = std::make_shared<MemoryConnection>();
  return {std::make_unique<MemoryStream>(*this, connection, 0),
          std::make_unique<MemoryStream>(*this, connection, 1)};
}

void MemoryNetwork::Reset(ByteStream& stream) {
  auto* const mine = dynamic_cast<MemoryStream*>(&stream);
  YAMANOTE_CHECK(mine != nullptr, "the stream is not of a MemoryNetwork");
  mine->Break(ECONNRESET);
}

Result<std::unique_ptr<MemoryDatagramSocket>> MemoryNetwork::Bind(
    const SocketAddress& address) {
  if (sockets_.contains(address)) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        "bind " + address.ToString() + ": taken; choose another address",
        EADDRINUSE);
  }
  std::unique_ptr<MemoryDatagramSocket> socket(
      new MemoryDatagramSocket(*this, address));
  sockets_[address] = socket.get();
  return socket;
}

void MemoryNetwork::At(Instant when, std::function<void()> action) {
  events_.push({std::max(when, now_), next_sequence_++, std::move(action)});
}

bool MemoryNetwork::Step() {
  if (events_.empty()) return false;
  const Event event = events_.top();
  events_.pop();
  now_ = event.when;
  event.action();
  return true;
}

void MemoryNetwork::RunUntil(Instant when) {
  while (!events_.empty() && events_.top().when <= when) Step();
  now_ = std::max(now_, when);
}

bool MemoryNetwork::RunUntilIdle(uint64_t max_steps) {
  for (uint64_t step = 0; step < max_steps; ++step) {
    if (!Step()) return true;
  }
  return events_.empty();
}

void MemoryNetwork::Deliver(const SocketAddress& to, const SocketAddress& from,
                            std::vector<std::byte> bytes) {
  Duration delay = options_.latency;
  if (Chance(options_.reorder)) {
    delay += Duration(random_.Below(
        static_cast<uint64_t>(ToNanos(options_.reorder_delay)) + 1));
  }
  At(now_ + delay, [this, to, from, bytes = std::move(bytes)]() mutable {
    const auto found = sockets_.find(to);
    if (found == sockets_.end()) {
      ++stats_.datagrams_unreachable;
    } else {
      found->second->Arrive({from, std::move(bytes)});
    }
  });
}

MemoryDatagramSocket::~MemoryDatagramSocket() {
  YAMANOTE_CHECK(*handler_ == nullptr,
                 "a socket was destroyed before Unwatch()");
  network_.sockets_.erase(address_);
}

Transfer MemoryDatagramSocket::SendTo(ConstBytes bytes,
                                      const SocketAddress& to) {
  if (bytes.size() > kMaxBytes) return {Transfer::Status::kError, EMSGSIZE, 0};
  ++network_.stats_.datagrams_sent;
  const int copies = network_.Chance(network_.options_.duplicate) ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    if (network_.Chance(network_.options_.drop)) {
      ++network_.stats_.datagrams_dropped;
    } else {
      network_.Deliver(to, address_, {bytes.begin(), bytes.end()});
    }
  }
  return {Transfer::Status::kDone, 0, bytes.size()};
}

Transfer MemoryDatagramSocket::ReceiveFrom(std::span<std::byte> buffer,
                                           SocketAddress& from) {
  if (queue_.empty()) return {};
  const Datagram datagram = std::move(queue_.front());
  queue_.pop_front();
  from = datagram.from;
  const size_t count = std::min(buffer.size(), datagram.bytes.size());
  std::copy_n(datagram.bytes.begin(), count, buffer.begin());
  return {Transfer::Status::kDone, 0, count};
}

void MemoryDatagramSocket::Watch(EventHandler& handler) {
  YAMANOTE_CHECK(*handler_ == nullptr, "a socket has one handler at a time");
  *handler_ = &handler;
  const uint32_t events = EPOLLOUT | (queue_.empty() ? 0 : uint32_t{EPOLLIN});
  network_.At(network_.now(), [target = handler_, events] {
    if (*target != nullptr) (*target)->OnEvents(events);
  });
}

void MemoryDatagramSocket::Arrive(Datagram datagram) {
  if (queue_.size() == network_.options_.datagram_queue) {
    ++network_.stats_.datagrams_overflowed;
    return;
  }
  queue_.push_back(std::move(datagram));
  if (*handler_ != nullptr) (*handler_)->OnEvents(EPOLLIN);
}

}  // namespace yamanote::io
