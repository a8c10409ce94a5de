// service_test.cc - what each command answers, good and bad.
//
// The expected answers are those that memcached 1.6.18 gave to the same bytes.

#include "apps/kv/service.h"

#include <gtest/gtest.h>

#include <string>

#include "apps/kv/test_server.h"

namespace yamanote::kv {
namespace {

using namespace std::chrono_literals;

struct Exchange {
  std::string sent;
  std::string answered;
};

void Expect(TestServer& server, std::initializer_list<Exchange> exchanges) {
  for (const Exchange& each : exchanges) {
    EXPECT_EQ(server.Send(each.sent), each.answered) << "sent: " << each.sent;
    EXPECT_EQ(server.unused_bytes(), 0u) << "sent: " << each.sent;
  }
}

const std::string kLongKey(251, 'k');
const std::string kBadLine = "CLIENT_ERROR bad command line format\r\n";

TEST(KvServiceTest, StoresAndReads) {
  TestServer server;
  Expect(
      server,
      {{"set a 5 0 3\r\nabc\r\n", "STORED\r\n"},
       {"get a\r\n", "VALUE a 5 3\r\nabc\r\nEND\r\n"},
       {"get a b a\r\n", "VALUE a 5 3\r\nabc\r\nVALUE a 5 3\r\nabc\r\nEND\r\n"},
       {"get nothing\r\n", "END\r\n"},
       {"set a 0 0 0\r\n\r\nget a\r\n", "STORED\r\nVALUE a 0 0\r\n\r\nEND\r\n"},
       {"  get   a  \r\n", "VALUE a 0 0\r\n\r\nEND\r\n"},
       {"set a 4294967295 0 1\r\na\r\nget a\r\n",
        "STORED\r\nVALUE a 4294967295 1\r\na\r\nEND\r\n"},
       {"set k\t 0 0 2\nhi\r\nget k\t\n",
        "STORED\r\nVALUE k\t 0 2\r\nhi\r\nEND\r\n"}});
}

TEST(KvServiceTest, ModesHoldTheirConditions) {
  TestServer server;
  Expect(server, {{"add a 0 0 1\r\n1\r\n", "STORED\r\n"},
                  {"add a 0 0 1\r\n2\r\n", "NOT_STORED\r\n"},
                  {"replace b 0 0 1\r\n2\r\n", "NOT_STORED\r\n"},
                  {"replace a 3 0 1\r\n2\r\n", "STORED\r\n"},
                  {"append b 0 0 1\r\n2\r\n", "NOT_STORED\r\n"},
                  {"prepend b 0 0 1\r\n2\r\n", "NOT_STORED\r\n"},
                  // Flags and time of the old item stay.
                  {"append a 9 9 2\r\n34\r\n", "STORED\r\n"},
                  {"prepend a 9 9 2\r\n01\r\n", "STORED\r\n"},
                  {"get a\r\n", "VALUE a 3 5\r\n01234\r\nEND\r\n"}});
}

TEST(KvServiceTest, CompareAndSwap) {
  TestServer server;
  server.Send("set a 0 0 1\r\n1\r\n");
  const std::string answer = server.Send("gets a\r\n");
  const std::string cas = answer.substr(12, answer.find('\r') - 12);
  Expect(server, {{"cas a 0 0 1 " + cas + "\r\n2\r\n", "STORED\r\n"},
                  {"cas a 0 0 1 " + cas + "\r\n3\r\n", "EXISTS\r\n"},
                  {"cas b 0 0 1 " + cas + "\r\n3\r\n", "NOT_FOUND\r\n"},
                  {"get a\r\n", "VALUE a 0 1\r\n2\r\nEND\r\n"},
                  {"cas a 0 0 1\r\n3\r\n", "ERROR\r\nERROR\r\n"},
                  {"cas a 0 0 1 x\r\n3\r\n", kBadLine + "ERROR\r\n"}});
}

TEST(KvServiceTest, DeletesTouchesFlushes) {
  TestServer server;
  server.Send("set a 0 0 1\r\n1\r\n");
  Expect(server,
         {{"touch a 100\r\n", "TOUCHED\r\n"},
          {"touch b 100\r\n", "NOT_FOUND\r\n"},
          {"touch a\r\n", "ERROR\r\n"},
          {"touch a x\r\n", "CLIENT_ERROR invalid exptime argument\r\n"},
          {"gat 100 a b\r\n", "VALUE a 0 1\r\n1\r\nEND\r\n"},
          {"gat\r\n", "ERROR\r\n"},
          {"gat 10\r\n", "END\r\n"},
          {"gat x a\r\n", "CLIENT_ERROR invalid exptime argument\r\n"},
          {"delete a 5\r\n",
           "CLIENT_ERROR bad command line format.  Usage: delete <key> "
           "[noreply]\r\n"},
          {"delete a 0\r\n", "DELETED\r\n"},
          {"delete a\r\n", "NOT_FOUND\r\n"},
          {"delete\r\n", "ERROR\r\n"},
          {"set a 0 0 1\r\n1\r\nflush_all\r\nget a\r\n",
           "STORED\r\nOK\r\nEND\r\n"},
          {"set a 0 0 1\r\n1\r\nget a\r\n",
           "STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n"},
          {"flush_all x\r\n", "CLIENT_ERROR invalid exptime argument\r\n"},
          {"flush_all -1\r\nget a\r\n", "OK\r\nEND\r\n"}});
}

TEST(KvServiceTest, CountsUpAndDown) {
  TestServer server;
  Expect(server,
         {{"set n 0 0 2\r\n10\r\nincr n 5\r\n", "STORED\r\n15\r\n"},
          {"decr n 20\r\nget n\r\n", "0\r\nVALUE n 0 2\r\n0 \r\nEND\r\n"},
          {"incr n 18446744073709551615\r\n", "18446744073709551615\r\n"},
          {"incr n 2\r\n", "1\r\n"},  // Wraps around.
          {"incr n -1\r\n", "CLIENT_ERROR invalid numeric delta argument\r\n"},
          {"incr n\r\n", "ERROR\r\n"},
          {"incr x 1\r\n", "NOT_FOUND\r\n"},
          {"set n 7 0 1\r\nx\r\nincr n 1\r\n",
           "STORED\r\n"
           "CLIENT_ERROR cannot increment or decrement "
           "non-numeric value\r\n"},
          {"set n 7 0 1\r\n9\r\nincr n 1\r\nget n\r\n",
           "STORED\r\n10\r\nVALUE n 7 2\r\n10\r\nEND\r\n"},
          {"set n 0 0 3\r\n100\r\ndecr n 95\r\nget n\r\n",
           "STORED\r\n5\r\nVALUE n 0 3\r\n5  \r\nEND\r\n"}});
}

TEST(KvServiceTest, NoreplyAnswersNothing) {
  TestServer server;
  Expect(server, {{"set a 0 0 1 noreply\r\n5\r\n", ""},
                  {"incr a 1 noreply\r\n", ""},
                  {"incr b 1 noreply\r\n", ""},
                  {"touch a 0 noreply\r\n", ""},
                  {"verbosity noreply\r\n", ""},
                  {"get a\r\n", "VALUE a 0 1\r\n6\r\nEND\r\n"},
                  {"delete a noreply\r\n", ""},
                  {"delete a 0 noreply\r\n", ""},
                  {"set a 0 0 1 noreply\r\n5\r\nflush_all noreply\r\nget a\r\n",
                   "END\r\n"},
                  {"flush_all 0 noreply \r\n", ""}});
}

TEST(KvServiceTest, ErrorsAreMemcacheds) {
  TestServer server;
  Expect(
      server,
      {{"\r\n", "ERROR\r\n"},
       {"foo\r\n", "ERROR\r\n"},
       {"GET a\r\n", "ERROR\r\n"},
       {"get\r\n", "ERROR\r\n"},
       {"get \r\n", "ERROR\r\n"},
       {"gets\r\n", "ERROR\r\n"},
       {"get " + kLongKey + "\r\n", kBadLine},
       {"get a " + kLongKey + "\r\n", kBadLine},
       {"set " + kLongKey + " 0 0 3\r\nabc\r\n", kBadLine + "ERROR\r\n"},
       {"set a 0 0 -1\r\nabc\r\n", kBadLine + "ERROR\r\n"},
       {"set a x 0 3\r\nabc\r\n", kBadLine + "ERROR\r\n"},
       {"set a 0 0\r\n", "ERROR\r\n"},
       {"set a 0 0 3\r\nabcde\r\nget a\r\n",
        "CLIENT_ERROR bad data chunk\r\nERROR\r\nEND\r\n"},
       {"set a 0 0 3 noreply\r\nabcde\r\n", "ERROR\r\n"},
       {"set a 0 0 1\nbc\nget a\n", "CLIENT_ERROR bad data chunk\r\nEND\r\n"},
       {"verbosity\r\n", "ERROR\r\n"},
       {"verbosity 1\r\n", "OK\r\n"},
       {"verbosity foo\r\n", kBadLine},
       {"verbosity foo bar my\r\n", "ERROR\r\n"},
       {"stats foo\r\n", "ERROR\r\n"},
       {"stats reset\r\n", "RESET\r\n"}});
  EXPECT_TRUE(server.Send("version\r\n").starts_with("VERSION "));
  EXPECT_FALSE(server.closed());
  EXPECT_EQ(server.Send("quit\r\nget a\r\n"), "");
  EXPECT_TRUE(server.closed());
}

TEST(KvServiceTest, ValueOverTheLimitReplacesNothingAndKeepsTheStream) {
  TestServer server({.memory_limit = 1 << 20, .max_value_bytes = 1000});
  const std::string fits(1000, 'x');
  const std::string over(1001, 'x');
  const std::string too_large = "SERVER_ERROR object too large for cache\r\n";
  Expect(
      server,
      {{"set a 0 0 1000\r\n" + fits + "\r\n", "STORED\r\n"},
       {"set a 0 0 1001\r\n" + over + "\r\nget a\r\n", too_large + "END\r\n"},
       {"set a 0 0 1001 noreply\r\n" + over + "\r\nget a\r\n", "END\r\n"},
       {"set a 0 0 1000\r\n" + fits + "\r\nappend a 0 0 1\r\ny\r\n",
        "STORED\r\n" + too_large},
       {"ms a 1001\r\n" + over + "\r\nmn\r\n", too_large + "MN\r\n"}});
}

TEST(KvServiceTest, ItemsExpireAtTheirSecond) {
  TestServer server;
  const std::string hit = "VALUE a 0 1\r\n1\r\nEND\r\n";
  server.Send("set a 0 10 1\r\n1\r\n");
  server.Advance(9s);
  EXPECT_EQ(server.Send("get a\r\n"), hit);
  server.Advance(1s);
  EXPECT_EQ(server.Send("get a\r\n"), "END\r\n");
  // Negative: over at once. Touch revives nothing, but prolongs.
  EXPECT_EQ(server.Send("set a 0 -1 1\r\n1\r\nget a\r\ntouch a 10\r\n"),
            "STORED\r\nEND\r\nNOT_FOUND\r\n");
  server.Send("set a 0 10 1\r\n1\r\n");
  server.Advance(9s);
  server.Send("touch a 10\r\n");
  server.Advance(9s);
  EXPECT_EQ(server.Send("gat 0 a\r\n"), hit);
  server.Advance(100'000'000s);
  EXPECT_EQ(server.Send("get a\r\n"), hit);
}

TEST(KvServiceTest, MoreThanThirtyDaysIsAUnixTime) {
  TestServer server;
  const std::string hit = "VALUE a 0 1\r\n1\r\nEND\r\n";
  server.Send("set a 0 2592000 1\r\n1\r\n");  // 30 days: relative.
  server.Advance(2591999s);
  EXPECT_EQ(server.Send("get a\r\n"), hit);
  server.Advance(1s);
  EXPECT_EQ(server.Send("get a\r\n"), "END\r\n");
  // One second more is January 1970: over long ago.
  EXPECT_EQ(server.Send("set a 0 2592001 1\r\n1\r\nget a\r\n"),
            "STORED\r\nEND\r\n");
  const int64_t now = TestServer::kUnixOrigin + 2592000;
  server.Send("set a 0 " + std::to_string(now + 5) + " 1\r\n1\r\n");
  server.Advance(4s);
  EXPECT_EQ(server.Send("get a\r\n"), hit);
  server.Advance(1s);
  EXPECT_EQ(server.Send("get a\r\n"), "END\r\n");
}

TEST(KvServiceTest, DelayedFlushTakesWhatWasStoredBefore) {
  TestServer server;
  server.Send("set a 0 0 1\r\n1\r\nflush_all 10\r\n");
  server.Advance(9s);
  server.Send("set b 0 0 1\r\n2\r\n");
  EXPECT_EQ(server.Send("get a b\r\n"),
            "VALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n2\r\nEND\r\n");
  server.Advance(1s);
  server.Send("set c 0 0 1\r\n3\r\n");
  EXPECT_EQ(server.Send("get a b c\r\n"), "VALUE c 0 1\r\n3\r\nEND\r\n");
  server.Advance(100s);
  EXPECT_EQ(server.Send("get c\r\n"), "VALUE c 0 1\r\n3\r\nEND\r\n");
}

// The second flush is asked for when the first is due and nobody has asked for
// the key since.
TEST(KvServiceTest, FlushThatIsDueIsNotForgotten) {
  TestServer server;
  server.Send("set a 0 0 1\r\n1\r\nflush_all 10\r\n");
  server.Advance(10s);
  EXPECT_EQ(server.Send("flush_all 10\r\nget a\r\n"), "OK\r\nEND\r\n");
}

// Hundreds of keys, values of many blocks, found and missing mixed; and the
// scheduler is asked now and then.
int preempt_checks = 0;
TEST(KvServiceTest, LongGetsAnswerEveryKeyInOrder) {
  preempt_checks = 0;
  TestServer server({}, [] { ++preempt_checks; });
  std::string command = "get";
  std::string expected;
  for (int i = 0; i < 500; ++i) {
    const std::string key =
        "key:" + std::to_string(i) + std::string(i % 200, 'k');
    command += " " + key;
    if (i % 3 == 0) continue;
    const std::string value(static_cast<size_t>(i) * 11,
                            static_cast<char>('a' + i % 26));
    server.Send("set " + key + " 1 0 " + std::to_string(value.size()) + "\r\n" +
                value + "\r\n");
    expected += "VALUE " + key + " 1 " + std::to_string(value.size()) + "\r\n" +
                value + "\r\n";
  }
  EXPECT_EQ(server.Send(command + "\r\n"), expected + "END\r\n");
  // At least once for every eight keys.
  EXPECT_GE(preempt_checks, 500 / 8);
}

TEST(KvServiceTest, ReplyOverTheLimitIsAnError) {
  TestServer server;
  server.Send("set a 0 0 100\r\n" + std::string(100, 'x') + "\r\n");
  const std::string command = "get a a a a\r\n";
  Reply reply(300);
  server.service().Handle(Request{.bytes = std::as_bytes(std::span(command))},
                          reply);
  EXPECT_EQ(net::memcached::AsText(reply.bytes()),
            "SERVER_ERROR out of memory writing get response\r\n");
}

TEST(KvServiceTest, StatsCountWhatHappened) {
  TestServer server;
  server.Send(
      "set a 0 0 1\r\n1\r\nget a b c\r\nincr a 1\r\ndecr b 1\r\ndelete a\r\n"
      "touch a 0\r\nflush_all\r\nset d 0 0 1\r\n1\r\nmn\r\n");
  server.Advance(5s);
  const std::string stats = server.Send("stats\r\n");
  for (const auto* line :
       {"cmd_get 3", "get_hits 1", "get_misses 2", "cmd_set 2", "incr_hits 1",
        "decr_misses 1", "delete_hits 1", "touch_misses 1", "cmd_touch 1",
        "cmd_flush 1", "cmd_meta 1", "curr_items 1", "total_items 2",
        "bytes 128", "limit_maxbytes 67108864", "uptime 5", "time 1700000005",
        "evictions 0"}) {
    EXPECT_NE(stats.find("STAT " + std::string(line) + "\r\n"),
              std::string::npos)
        << line << "\n"
        << stats;
  }
  EXPECT_TRUE(stats.ends_with("END\r\n"));
  for (const auto* what : {"settings", "items", "slabs", "sizes"}) {
    const std::string answer =
        server.Send("stats " + std::string(what) + "\r\n");
    EXPECT_TRUE(answer.starts_with("STAT ") && answer.ends_with("\r\nEND\r\n"))
        << answer;
  }
  server.Send("stats reset\r\n");
  EXPECT_NE(server.Send("stats\r\n").find("STAT cmd_get 0\r\n"),
            std::string::npos);
}

TEST(KvUdpTest, AnswersCarryTheHeader) {
  TestServer server;
  const std::string header({0, 7, 0, 0, 0, 1, 0, 0});
  EXPECT_EQ(server.SendUdp("set a 0 0 3\r\nabc\r\n"), header + "STORED\r\n");
  EXPECT_EQ(server.SendUdp("get a\r\nmn\r\n"),
            header + "VALUE a 0 3\r\nabc\r\nEND\r\nMN\r\n");
  EXPECT_EQ(server.SendUdp("set a 0 0 3 noreply\r\nabc\r\n"), "");
  EXPECT_EQ(server.SendUdp(""), "");
  EXPECT_EQ(server.SendUdp("quit\r\n"), "");
  // What is cut off is answered, not waited for.
  EXPECT_EQ(server.SendUdp("get a"), header + "ERROR\r\n");
  EXPECT_EQ(server.SendUdp("set a 0 0 30\r\nab"),
            header + "CLIENT_ERROR bad data chunk\r\n");
  EXPECT_EQ(server.SendUdp("set a 0 0 3000000\r\nab"),
            header + "SERVER_ERROR object too large for cache\r\n");
}

TEST(KvUdpTest, LongAnswersAreSplit) {
  TestServer server;
  const std::string value(5000, 'v');
  server.Send("set a 0 0 5000\r\n" + value + "\r\n");
  const std::string answer = server.SendUdp("get a\r\n");
  std::string body;
  for (size_t at = 0; at < answer.size(); at += 1400) {
    body += answer.substr(at + 8, 1392);
  }
  EXPECT_EQ(body, "VALUE a 0 5000\r\n" + value + "\r\nEND\r\n");
  EXPECT_EQ(answer[5], 4);  // 5024 bytes in 4 datagrams.
}

}  // namespace
}  // namespace yamanote::kv
