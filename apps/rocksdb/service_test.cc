// service_test.cc - every command, right and wrong, and scans among writers.

#include "apps/rocksdb/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "apps/rocksdb/test_server.h"
#include "net/memory_budget.h"
#include "preempt/flag.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace yamanote::rocks {

// Not in the namespace below: a friend.
class CursorsTest : public testing::Test {
 protected:
  static base::SpinLock& LockOf(Cursors& cursors) { return cursors.lock_; }
};

namespace {

using testing::HasSubstr;
using testing::StartsWith;

class RocksdbServiceTest : public testing::Test {
 protected:
  using Words = std::vector<std::string>;
  std::string Ask(const Words& words) { return server_.Ask(words); }

  // The bulk strings of an array, in order.
  static Words Parts(std::string_view reply) {
    Words out;
    net::resp::Words words(reply);
    while (const auto word = words.Next()) out.emplace_back(*word);
    return out;
  }

  TestServer server_{TestServer::Small()};
};

TEST_F(RocksdbServiceTest, ReadsWhatWasWritten) {
  EXPECT_EQ(Ask({"GET", "a"}), "$-1\r\n");
  EXPECT_EQ(Ask({"SET", "a", "1\r\n2"}), "+OK\r\n");
  EXPECT_EQ(Ask({"put", "b", ""}), "+OK\r\n");
  EXPECT_EQ(Ask({"GET", "a"}), "$4\r\n1\r\n2\r\n");
  EXPECT_EQ(Ask({"MGET", "b", "none", "a"}),
            "*3\r\n$0\r\n\r\n$-1\r\n$4\r\n1\r\n2\r\n");
  EXPECT_EQ(Ask({"EXISTS", "a", "b", "c", "a"}), ":3\r\n");
  EXPECT_EQ(Ask({"DEL", "a", "c", "a"}), ":1\r\n");
  EXPECT_EQ(Ask({"DELETE", "b"}), ":1\r\n");
  EXPECT_EQ(Ask({"EXISTS", "a", "b"}), ":0\r\n");
}

// A second line would be taken for the answer to the next request.
TEST(RocksdbCorruptTest, MgetOfAKeyThatCannotBeReadIsOneError) {
  const auto root = PrivateDirectory::Create("/dev/shm");
  ASSERT_TRUE(root) << root.error().message;
  RocksdbOptions options = TestServer::Small(2000);
  options.database.path = (*root)->path() + "/data";
  TestServer server(options);
  // The first block of the only table; the last keys are in another.
  size_t tables = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(options.database.path)) {
    if (entry.path().extension() != ".sst") continue;
    ++tables;
    std::fstream file(entry.path(),
                      std::ios::in | std::ios::out | std::ios::binary);
    file << std::string(64, 'x');
  }
  ASSERT_EQ(tables, 1u);
  const std::string last = KeyName(1999);
  ASSERT_EQ(server.Ask({"GET", last}), "$3\r\nvvv\r\n");
  const std::string answer = server.Ask({"MGET", last, KeyName(0), last, last});
  EXPECT_THAT(answer, StartsWith("-ERR rocksdb: Corruption"));
  EXPECT_EQ(answer.find('\n'), answer.size() - 1) << answer;
}

TEST_F(RocksdbServiceTest, RangeReturnsPairsInOrder) {
  for (const char* key : {"c", "a", "d", "b"}) Ask({"SET", key, "v"});
  EXPECT_EQ(Ask({"RANGE", "b", "2"}),
            "*4\r\n$1\r\nb\r\n$1\r\nv\r\n$1\r\nc\r\n$1\r\nv\r\n");
  // Fewer than were asked for.
  EXPECT_EQ(Parts(Ask({"RANGE", "c", "100"})), (Words{"c", "v", "d", "v"}));
  EXPECT_EQ(Ask({"RANGE", "x", "5"}), "*0\r\n");
  Ask({"DEL", "c"});
  EXPECT_EQ(Parts(Ask({"RANGE", "", "3"})),
            (Words{"a", "v", "b", "v", "d", "v"}));
}

TEST_F(RocksdbServiceTest, RangeSaysWhatIsWrong) {
  const std::string no_number =
      "-ERR value is not an integer or out of range\r\n";
  EXPECT_EQ(Ask({"RANGE", "a", "0"}), no_number);
  EXPECT_EQ(Ask({"RANGE", "a", "-1"}), no_number);
  EXPECT_EQ(Ask({"RANGE", "a", "1x"}), no_number);
  EXPECT_EQ(Ask({"RANGE", "a", "1001"}),
            "-ERR count 1001 is above rocksdb.max_scan_keys = 1000\r\n");
  EXPECT_THAT(Ask({"RANGE", "a"}), HasSubstr("wrong number of arguments"));
}

TEST_F(RocksdbServiceTest, ScanComesToEveryKeyOnce) {
  std::set<std::string> stored;
  for (int i = 0; i < 95; ++i) {
    stored.insert(KeyName(static_cast<uint64_t>(i)));
    Ask({"SET", KeyName(static_cast<uint64_t>(i)), "v"});
  }
  std::set<std::string> seen;
  std::string cursor = "0";
  do {
    std::string reply = Ask({"SCAN", cursor, "count", "10"});
    ASSERT_THAT(reply, StartsWith("*2\r\n"));
    // The cursor is the first bulk string, the keys are an array behind it.
    cursor = Parts(reply).front();
    const size_t keys = reply.find("\r\n*");
    for (const std::string& key : Parts(reply.substr(keys + 2)))
      EXPECT_TRUE(seen.insert(key).second) << key;
  } while (cursor != "0");
  EXPECT_EQ(seen, stored);
}

TEST_F(RocksdbServiceTest, ScanRefusesCursorsItDoesNotKnow) {
  EXPECT_EQ(Ask({"SCAN", "x"}), "-ERR invalid cursor\r\n");
  EXPECT_EQ(Ask({"SCAN", "7"}), "-ERR invalid cursor: it is too old\r\n");
  EXPECT_THAT(Ask({"SCAN", "0", "MATCH", "*"}),
              HasSubstr("SCAN cursor [COUNT"));
  EXPECT_THAT(Ask({"SCAN", "0", "COUNT"}), HasSubstr("SCAN cursor [COUNT"));
}

// A scan's keys lie in the reply and nowhere else: it ends with the reply's
// limit, or with the memory that all replies may take together.
TEST(RocksdbScanTest, EndsWhereItsReplyDoes) {
  static uint64_t walked = 0;
  RocksdbOptions options = TestServer::Small();
  options.check_preempt = [] { ++walked; };
  TestServer server(std::move(options));
  for (int i = 0; i < 200; ++i)
    server.Ask({"SET", std::string(1000, 'k') + std::to_string(i), "v"});
  EXPECT_THAT(server.Send("SCAN 0 COUNT 200\r\n", 10'000),
              HasSubstr("reply too large"));
  EXPECT_EQ(walked, 9u);  // Of 1,012 bytes and more.

  net::MemoryBudget budget(10'000);
  Reply reply(1 << 20, &budget);
  const std::string request = "SCAN 0 COUNT 200\r\n";
  server.service().Handle({.bytes = std::as_bytes(std::span(request))}, reply);
  EXPECT_THAT(std::string(net::memcached::AsText(reply.bytes())),
              HasSubstr("reply too large"));
  EXPECT_LT(walked, 100u);
}

// A preempted holder would make whoever waits spin for its whole slice.
TEST_F(CursorsTest, AreLockedWithPreemptionHeldOff) {
  Cursors cursors;
  std::atomic<uint32_t*> published{nullptr};
  std::unique_lock lock(LockOf(cursors));
  std::thread waiter([&] {
    published = &preempt::OwnState().disabled;
    cursors.Find(1);
  });
  while (published == nullptr) std::this_thread::yield();
  // It spins now, or will. Only the waiter writes it; a stale value is read again.
  const std::atomic_ref<uint32_t> disabled(*published.load());
  const Instant end = Clock::now() + std::chrono::seconds(10);
  while (disabled.load() == 0 && Clock::now() < end) std::this_thread::yield();
  EXPECT_EQ(disabled.load(), 1u);
  lock.unlock();
  waiter.join();
}

TEST_F(CursorsTest, TheLastOnesAreRemembered) {
  Cursors cursors;
  const uint64_t first = cursors.Remember("a");
  const uint64_t second = cursors.Remember("b");
  EXPECT_NE(first, 0u);
  for (size_t i = 2; i < Cursors::kCapacity + 1; ++i) cursors.Remember("x");
  EXPECT_EQ(cursors.Find(first), std::nullopt);
  EXPECT_EQ(cursors.Find(second), "b");
  EXPECT_EQ(cursors.Find(0), std::nullopt);
}

TEST_F(RocksdbServiceTest, LimitsAreNamed) {
  const std::string long_key(kMaxKeyBytes + 1, 'k');
  EXPECT_EQ(Ask({"GET", long_key}), "-ERR key is longer than 1024 bytes\r\n");
  EXPECT_EQ(Ask({"MGET", "a", long_key}),
            "-ERR key is longer than 1024 bytes\r\n");
  // What is too long is skipped, and the next request is answered.
  EXPECT_EQ(server_.Send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4097\r\n" +
                         std::string(4097, 'x') + "\r\nPING\r\n"),
            "-ERR value of 4097 bytes is longer than rocksdb.max_value_bytes = "
            "4096\r\n+PONG\r\n");
  EXPECT_EQ(server_.Send("*1\r\n$5000\r\n" + std::string(5000, 'x') + "\r\n"),
            "-ERR unknown command\r\n");
  EXPECT_EQ(Ask({"GET", "a"}), "$-1\r\n");
  Ask({"SET", "a", std::string(500, 'x')});
  EXPECT_THAT(server_.Send("RANGE a 1\r\n", 300), HasSubstr("reply too large"));
}

TEST_F(RocksdbServiceTest, CommandsSayWhatTheyTake) {
  EXPECT_THAT(Ask({"GET"}), HasSubstr("wrong number of arguments for 'GET'"));
  EXPECT_THAT(Ask({"SET", "a", "1", "EX", "10"}), HasSubstr("no options here"));
  EXPECT_EQ(Ask({"FLUSHALL"}), "-ERR unknown command 'FLUSHALL'\r\n");
  EXPECT_EQ(Ask({"a\r\nb"}), "-ERR unknown command 'a  b'\r\n");
  EXPECT_EQ(server_.Send("*0\r\n\r\nPING\r\n"), "+PONG\r\n");
}

TEST_F(RocksdbServiceTest, AWordTooLongToRepeatIsAnError) {
  const std::string longest(4096, 'w');
  EXPECT_EQ(Ask({"ECHO", longest}), "$4096\r\n" + longest + "\r\n");
  for (const char* command : {"ECHO", "PING"}) {
    EXPECT_EQ(
        Ask({command, longest + "w"}),
        "-ERR word of 4097 bytes is longer than rocksdb.max_value_bytes = "
        "4096\r\n");
  }
}

TEST_F(RocksdbServiceTest, ClientsCanConnect) {
  EXPECT_EQ(Ask({"PING"}), "+PONG\r\n");
  EXPECT_EQ(Ask({"ping", "x"}), "$1\r\nx\r\n");
  EXPECT_EQ(Ask({"ECHO", "hello"}), "$5\r\nhello\r\n");
  EXPECT_EQ(Ask({"SELECT", "0"}), "+OK\r\n");
  EXPECT_EQ(Ask({"SELECT", "1"}), "-ERR DB index is out of range\r\n");
  EXPECT_EQ(Ask({"COMMAND", "DOCS"}), "*0\r\n");
  EXPECT_EQ(Ask({"CONFIG", "GET", "save"}), "*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
  EXPECT_EQ(Ask({"CONFIG", "GET", "appendonly"}),
            "*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n");
  EXPECT_EQ(Ask({"CLIENT", "SETNAME", "x"}), "+OK\r\n");
  EXPECT_EQ(Ask({"HELLO", "3"}), "-NOPROTO unsupported protocol version\r\n");
  EXPECT_THAT(Ask({"HELLO"}), StartsWith("*8\r\n"));
  EXPECT_THAT(Ask({"INFO"}), HasSubstr("rocksdb_version:"));
  EXPECT_FALSE(server_.closed());
  EXPECT_EQ(server_.Send("QUIT\r\nPING\r\n"), "+OK\r\n");
  EXPECT_TRUE(server_.closed());
}

TEST_F(RocksdbServiceTest, MalformedInputEndsTheConnection) {
  EXPECT_EQ(server_.Send("*1\r\n:1\r\nPING\r\n"),
            "-ERR Protocol error: expected '$', got ':'\r\n");
  EXPECT_TRUE(server_.closed());
}

TEST_F(RocksdbServiceTest, DatagramsAreAnsweredUnderTheirNumber) {
  const std::string header({0, 7, 0, 0, 0, 1, 0, 1});
  EXPECT_EQ(server_.SendUdp("SET a 1\r\n"), header + "+OK\r\n");
  EXPECT_EQ(server_.SendUdp("GET a\r\n"), header + "$1\r\n1\r\n");
  Ask({"SET", "big", std::string(3000, 'x')});
  const std::string parts = server_.SendUdp("GET big\r\n");
  // 3,009 bytes of answer in three datagrams, each with its header.
  EXPECT_EQ(parts.size(), 3009u + 3 * 8);
  EXPECT_EQ(parts.substr(1400, 8), std::string({0, 7, 0, 1, 0, 3, 0, 1}));
}

// Scans stop between keys and go on, on another kernel thread as often as not,
// while writers replace what they read. Each sees the keys of one instant.
TEST(RocksdbRuntimeTest, ScansThatMoveBetweenCoresAmongWritersAreConsistent) {
  auto runtime = Runtime::Create(
      {.cores = 2, .pin = false, .scheduling = *FindPreset("shinjuku")});
  if (!runtime) {
    // A dedicated dispatcher and a worker; any preset with a slice will do.
    FAIL() << runtime.error().message;
  }
  static std::atomic<uint64_t> moves{0};
  RocksdbOptions options = TestServer::Small(500);
  options.check_preempt = [] {
    this_thread::yield();
    moves.fetch_add(1);
  };
  // Small, so that memtables are flushed and dropped while they are read.
  options.database.write_buffer_bytes = 64 << 10;
  TestServer server(std::move(options));
  (*runtime)->Run([&] {
    std::vector<Thread> threads;
    for (int reader = 0; reader < 6; ++reader) {
      threads.emplace_back([&server] {
        for (int i = 0; i < 20; ++i) {
          Reply reply(1 << 20);
          const std::string request = "RANGE key-00000100 300\r\n";
          server.service().Handle({.bytes = std::as_bytes(std::span(request))},
                                  reply);
          net::resp::Words words(net::memcached::AsText(reply.bytes()));
          EXPECT_EQ(words.left(), 600u);
          for (uint64_t key = 100; key < 400; ++key) {
            EXPECT_EQ(words.Next(), KeyName(key));
            words.Next();
          }
        }
      });
    }
    for (int writer = 0; writer < 2; ++writer) {
      threads.emplace_back([&server, writer] {
        for (int i = 0; i < 3000; ++i) {
          Reply reply(1 << 20);
          const std::string request =
              "SET " + KeyName(static_cast<uint64_t>((i * 7 + writer) % 500)) +
              " " + std::string(64, 'w') + "\r\n";
          server.service().Handle({.bytes = std::as_bytes(std::span(request))},
                                  reply);
          const auto answer = net::memcached::AsText(reply.bytes());
          // RocksDB may ask a writer to wait; it must not make one.
          EXPECT_TRUE(answer == "+OK\r\n" ||
                      answer.find("try again later") != std::string::npos)
              << answer;
          if (i % 16 == 0) this_thread::yield();
        }
      });
    }
    for (Thread& thread : threads) thread.join();
  });
  EXPECT_GT(moves.load(), 6u * 20 * 299 - 1);
}

}  // namespace
}  // namespace yamanote::rocks
