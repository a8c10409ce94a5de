// memory_test.cc - one contract for both kinds of stream, and the faults of the
// one in memory.

#include "io/memory.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <numeric>
#include <set>
#include <string>
#include <vector>

namespace yamanote::io {
namespace {

using namespace std::chrono_literals;
using Status = Transfer::Status;

std::span<const std::byte> AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// Remembers what it was told.
struct Recorder final : EventHandler {
  void OnEvents(uint32_t what) override {
    events |= what;
    ++calls;
    if (then) then();
  }
  uint32_t events = 0;
  int calls = 0;
  std::function<void()> then;
};

// A pair of connected streams and a way to let events happen.
class StreamPair {
 public:
  virtual ~StreamPair() = default;
  // Lets what is under way arrive and its handlers run.
  virtual void Settle() = 0;
  std::unique_ptr<ByteStream> a;
  std::unique_ptr<ByteStream> b;
};

class MemoryPair final : public StreamPair {
 public:
  MemoryPair() { std::tie(a, b) = network_.Connect(); }
  ~MemoryPair() override {
    a.reset();
    b.reset();
  }
  void Settle() override { EXPECT_TRUE(network_.RunUntilIdle()); }

 private:
  MemoryNetwork network_;
};

class KernelPair final : public StreamPair {
 public:
  KernelPair() {
    int fds[2];
    EXPECT_EQ(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
        0);
    a = std::make_unique<KernelStream>(fds[0], poller_);
    b = std::make_unique<KernelStream>(fds[1], poller_);
  }
  ~KernelPair() override {
    a.reset();
    b.reset();
  }
  // A local socket delivers within the system call.
  void Settle() override {
    while (poller_.Poll(0ns) > 0) {
    }
  }

 private:
  Poller poller_;
};

template <typename Pair>
class StreamTest : public testing::Test {
 protected:
  Pair pair_;
};

using Kinds = testing::Types<MemoryPair, KernelPair>;
TYPED_TEST_SUITE(StreamTest, Kinds);

std::string ReadAll(ByteStream& stream, Status* last) {
  std::string result;
  std::byte buffer[1000];
  for (;;) {
    const Transfer transfer = stream.Read(buffer);
    if (transfer.status != Status::kDone) {
      *last = transfer.status;
      return result;
    }
    result.append(reinterpret_cast<const char*>(buffer), transfer.bytes);
  }
}

TYPED_TEST(StreamTest, CarriesBytesInOrder) {
  StreamPair& pair = this->pair_;
  const ByteStream::ConstBytes parts[] = {AsBytes("one "), AsBytes(""),
                                          AsBytes("two")};
  const Transfer sent = pair.a->Write(parts);
  EXPECT_EQ(sent.status, Status::kDone);
  EXPECT_EQ(sent.bytes, 7u);
  pair.Settle();
  Status last{};
  EXPECT_EQ(ReadAll(*pair.b, &last), "one two");
  EXPECT_EQ(last, Status::kWouldBlock);
}

TYPED_TEST(StreamTest, HalfCloseEndsOneDirection) {
  StreamPair& pair = this->pair_;
  pair.a->Write(AsBytes("last words"));
  pair.a->ShutdownWrite();
  pair.Settle();
  Status last{};
  EXPECT_EQ(ReadAll(*pair.b, &last), "last words");
  EXPECT_EQ(last, Status::kEnd);
  EXPECT_EQ(pair.b->Write(AsBytes("reply")).status, Status::kDone);
  pair.Settle();
  EXPECT_EQ(ReadAll(*pair.a, &last), "reply");
  const Transfer refused = pair.a->Write(AsBytes("x"));
  EXPECT_EQ(refused.status, Status::kError);
  EXPECT_EQ(refused.error, EPIPE);
}

TYPED_TEST(StreamTest, WatcherHearsOfReadinessThatWasThereBefore) {
  StreamPair& pair = this->pair_;
  pair.a->Write(AsBytes("x"));
  pair.Settle();
  Recorder recorder;
  ASSERT_TRUE(pair.b->Watch(recorder));
  pair.Settle();
  EXPECT_EQ(recorder.events & (EPOLLIN | EPOLLOUT),
            uint32_t{EPOLLIN | EPOLLOUT});
  pair.b->Unwatch();
}

TYPED_TEST(StreamTest, FullBufferBlocksUntilRead) {
  StreamPair& pair = this->pair_;
  Recorder recorder;
  ASSERT_TRUE(pair.a->Watch(recorder));
  pair.Settle();
  const std::string block(4096, 'x');
  size_t written = 0;
  for (;;) {
    const Transfer transfer = pair.a->Write(AsBytes(block));
    if (transfer.status != Status::kDone) {
      ASSERT_EQ(transfer.status, Status::kWouldBlock);
      break;
    }
    written += transfer.bytes;
  }
  pair.Settle();
  recorder.events = 0;
  Status last{};
  EXPECT_EQ(ReadAll(*pair.b, &last).size(), written);
  pair.Settle();
  EXPECT_NE(recorder.events & EPOLLOUT, 0u);
  EXPECT_EQ(pair.a->Write(AsBytes(block)).status, Status::kDone);
  pair.a->Unwatch();
}

TYPED_TEST(StreamTest, ClosingEndsThePeer) {
  StreamPair& pair = this->pair_;
  Recorder recorder;
  ASSERT_TRUE(pair.b->Watch(recorder));
  pair.Settle();
  pair.a->Write(AsBytes("bye"));
  pair.a.reset();
  pair.Settle();
  EXPECT_NE(recorder.events & EPOLLRDHUP, 0u);
  Status last{};
  EXPECT_EQ(ReadAll(*pair.b, &last), "bye");
  EXPECT_EQ(last, Status::kEnd);
  // The first write after it may succeed; its answer breaks the connection.
  pair.b->Write(AsBytes("x"));
  pair.Settle();
  EXPECT_EQ(pair.b->Write(AsBytes("x")).status, Status::kError);
  pair.b->Unwatch();
}

TYPED_TEST(StreamTest, ClosingWithUnreadBytesResetsThePeer) {
  StreamPair& pair = this->pair_;
  pair.b->Write(AsBytes("unread"));
  pair.Settle();
  pair.a.reset();
  pair.Settle();
  std::byte buffer[8];
  const Transfer transfer = pair.b->Read(buffer);
  EXPECT_EQ(transfer.status, Status::kError);
  EXPECT_EQ(transfer.error, ECONNRESET);
}

TYPED_TEST(StreamTest, UnwatchedHandlerIsNotCalled) {
  StreamPair& pair = this->pair_;
  Recorder recorder;
  ASSERT_TRUE(pair.b->Watch(recorder));
  pair.Settle();
  recorder.calls = 0;
  pair.a->Write(AsBytes("x"));
  pair.b->Unwatch();
  pair.Settle();
  EXPECT_EQ(recorder.calls, 0);
}

TEST(MemoryNetworkTest, BytesTakeTheLatency) {
  MemoryNetwork network({.latency = 10us});
  const Instant start = network.now();
  auto [a, b] = network.Connect();
  a->Write(AsBytes("x"));
  std::byte buffer[8];
  network.RunUntil(start + 10us - 1ns);
  EXPECT_EQ(b->Read(buffer).status, Status::kWouldBlock);
  network.RunUntil(start + 10us);
  EXPECT_EQ(b->Read(buffer).status, Status::kDone);
}

TEST(MemoryNetworkTest, ResetBreaksBothEnds) {
  MemoryNetwork network;
  auto [a, b] = network.Connect();
  a->Write(AsBytes("lost"));
  network.Reset(*a);
  std::byte buffer[8];
  EXPECT_EQ(a->Read(buffer).error, ECONNRESET);
  network.RunUntilIdle();
  EXPECT_EQ(b->Read(buffer).error, ECONNRESET);
  EXPECT_EQ(b->Write(AsBytes("x")).error, ECONNRESET);
}

// Sends `size` bytes through a network with faults, as a server would: until it
// would block, then from the handler. Returns what arrived and when.
struct Copied {
  std::string bytes;
  Instant when{};
  friend bool operator==(const Copied&, const Copied&) = default;
};

Copied CopyWithFaults(uint64_t seed, const std::string& input) {
  MemoryNetwork network({.seed = seed,
                         .buffer_bytes = 97,
                         .short_read = 0.3,
                         .short_write = 0.3,
                         .would_block = 0.2});
  auto [a, b] = network.Connect();
  Copied result;
  size_t sent = 0;
  bool ended = false;
  Recorder writer, reader;
  writer.then = [&, &stream = *a] {
    while (sent < input.size()) {
      const Transfer transfer =
          stream.Write(AsBytes(std::string_view(input).substr(sent, 200)));
      if (transfer.status != Status::kDone) return;
      sent += transfer.bytes;
    }
    stream.ShutdownWrite();
  };
  reader.then = [&, &stream = *b] {
    std::byte buffer[64];
    for (;;) {
      const Transfer transfer = stream.Read(buffer);
      if (transfer.status == Status::kDone) {
        result.bytes.append(reinterpret_cast<const char*>(buffer),
                            transfer.bytes);
        continue;
      }
      if (transfer.status == Status::kEnd && !ended) {
        ended = true;
        result.when = network.now();
      }
      return;
    }
  };
  EXPECT_TRUE(a->Watch(writer));
  EXPECT_TRUE(b->Watch(reader));
  EXPECT_TRUE(network.RunUntilIdle());
  EXPECT_TRUE(ended) << "the end never arrived: a lost edge";
  a->Unwatch();
  b->Unwatch();
  return result;
}

TEST(MemoryNetworkTest, FaultsDelayBytesButLoseNoneAndReplayFromTheSeed) {
  std::string input(5000, ' ');
  std::iota(input.begin(), input.end(), '\0');
  std::set<Instant> ends;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const Copied first = CopyWithFaults(seed, input);
    ASSERT_EQ(first.bytes, input) << "seed " << seed;
    ASSERT_EQ(CopyWithFaults(seed, input), first) << "seed " << seed;
    ends.insert(first.when);
  }
  EXPECT_GT(ends.size(), 10u) << "seeds do not matter: no faults happened";
}

class DatagramTest : public testing::Test {
 protected:
  static SocketAddress Port(uint16_t port) {
    return SocketAddress::Loopback(AddressFamily::kIpv4, port);
  }
  static int Receive(MemoryDatagramSocket& socket, SocketAddress& from) {
    std::byte buffer[4];
    const Transfer transfer = socket.ReceiveFrom(buffer, from);
    if (transfer.status != Status::kDone) return -1;
    int value = 0;
    std::memcpy(&value, buffer, sizeof(value));
    return value;
  }
  static void Send(MemoryDatagramSocket& socket, int value,
                   const SocketAddress& to) {
    EXPECT_EQ(socket.SendTo(std::as_bytes(std::span(&value, 1)), to).status,
              Status::kDone);
  }
};

TEST_F(DatagramTest, CarriesDatagramsAndTheirSender) {
  MemoryNetwork network;
  auto a = *network.Bind(Port(1));
  auto b = *network.Bind(Port(2));
  EXPECT_EQ(network.Bind(Port(1)).error().code, ErrorCode::kInvalidArgument);
  Recorder recorder;
  b->Watch(recorder);
  Send(*a, 7, Port(2));
  Send(*a, 8, Port(3));
  network.RunUntilIdle();
  EXPECT_NE(recorder.events & EPOLLIN, 0u);
  SocketAddress from;
  EXPECT_EQ(Receive(*b, from), 7);
  EXPECT_EQ(from, Port(1));
  EXPECT_EQ(Receive(*b, from), -1);
  EXPECT_EQ(network.stats().datagrams_unreachable, 1u);
  b->Unwatch();
}

TEST_F(DatagramTest, TruncatesRefusesAndOverflowsAsStated) {
  MemoryNetwork network({.datagram_queue = 2});
  auto a = *network.Bind(Port(1));
  const std::vector<std::byte> big(MemoryDatagramSocket::kMaxBytes + 1);
  EXPECT_EQ(a->SendTo(big, Port(1)).error, EMSGSIZE);
  a->SendTo(AsBytes("12345678"), Port(1));
  a->SendTo({}, Port(1));
  a->SendTo(AsBytes("over"), Port(1));
  network.RunUntilIdle();
  EXPECT_EQ(network.stats().datagrams_overflowed, 1u);
  std::byte buffer[4];
  SocketAddress from;
  EXPECT_EQ(a->ReceiveFrom(buffer, from).bytes, 4u);
  const Transfer empty = a->ReceiveFrom(buffer, from);
  EXPECT_EQ(empty.status, Status::kDone);
  EXPECT_EQ(empty.bytes, 0u);
}

TEST_F(DatagramTest, FaultsDropDuplicateAndReorder) {
  constexpr int kSent = 1000;
  MemoryNetwork network({.seed = 3,
                         .datagram_queue = 2 * kSent,
                         .drop = 0.2,
                         .duplicate = 0.1,
                         .reorder = 0.5});
  auto a = *network.Bind(Port(1));
  auto b = *network.Bind(Port(2));
  for (int i = 0; i < kSent; ++i) {
    Send(*a, i, Port(2));
    network.RunUntil(network.now() + 1us);
  }
  network.RunUntilIdle();
  std::vector<int> values;
  SocketAddress from;
  for (int value; (value = Receive(*b, from)) >= 0;) values.push_back(value);
  // 1000 sent, 1100 copies, a fifth dropped: 880 expected, deviation about 15.
  EXPECT_NEAR(static_cast<double>(values.size()), 880, 75);
  EXPECT_FALSE(std::is_sorted(values.begin(), values.end()));
  EXPECT_LT(std::set<int>(values.begin(), values.end()).size(), values.size());
}

}  // namespace
}  // namespace yamanote::io
