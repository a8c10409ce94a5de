// wire_test.cc - answers whole, in pieces, out of order, twice and wrong.

#include "tools/load/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace yamanote::load {
namespace {

struct Session {
  Session(Application application, const char* service, Transport transport,
          size_t requests)
      : workload(*Workload::Parse(application, service)),
        wire(application == Application::kSpin
                 ? MakeSpinWire(transport, 1, 42)
                 : MakeKvWire(transport, 1, workload,
                              {.keys = 50, .value_bytes = 3, .popularity = {}},
                              KvTraffic::kWorkload)),
        ledger(std::vector<Sample>(requests)) {
    for (uint32_t i = 0; i < requests; ++i) {
      std::string bytes;
      wire->Encode(ledger.samples()[i], i, lane, bytes);
      sent.push_back(bytes);
      ledger.MarkSent(i, 10);
    }
    ledger.SetNow(100);
  }
  bool Read(std::string_view bytes) { return wire->Read(lane, bytes, ledger); }
  Status StatusOf(size_t i) const { return ledger.samples()[i].status; }

  Workload workload;
  std::unique_ptr<Wire> wire;
  Ledger ledger;
  Lane lane;
  std::vector<std::string> sent;
};

std::string Udp(int id, int sequence, int total, std::string_view payload) {
  const auto byte = [](int v) { return static_cast<char>(v); };
  std::string out = {byte(id >> 8),
                     byte(id),
                     byte(sequence >> 8),
                     byte(sequence),
                     byte(total >> 8),
                     byte(total),
                     0,
                     0};
  return out.append(payload);
}

TEST(SpinWireTest, TheMessageIsTheDocumentedOne) {
  Session s(Application::kSpin, "fixed:5us", Transport::kUdp, 2);
  ASSERT_EQ(s.sent[1].size(), 32u);
  uint32_t sequence = 0, reserved = 1;
  std::memcpy(&sequence, s.sent[1].data() + 20, 4);
  std::memcpy(&reserved, s.sent[1].data() + 28, 4);
  EXPECT_EQ(sequence, 1u);
  EXPECT_EQ(reserved, 0u);
}

TEST(SpinWireTest, DatagramsMayComeInAnyOrderAndTwice) {
  Session s(Application::kSpin, "fixed:5us", Transport::kUdp, 3);
  EXPECT_TRUE(s.Read(s.sent[2]));
  EXPECT_TRUE(s.Read(s.sent[0]));
  EXPECT_TRUE(s.Read(s.sent[2]));
  EXPECT_EQ(s.StatusOf(0), Status::kAnswered);
  EXPECT_EQ(s.StatusOf(1), Status::kSent);
  EXPECT_EQ(s.StatusOf(2), Status::kAnswered);
  EXPECT_EQ(s.ledger.counters().duplicates, 1u);
  EXPECT_EQ(s.ledger.outstanding(), 1u);
  EXPECT_EQ(s.ledger.samples()[2].received_ns, 100);
}

TEST(SpinWireTest, ForeignDatagramsAreCounted) {
  Session s(Application::kSpin, "fixed:5us", Transport::kUdp, 2);
  std::string other_run = s.sent[0];
  other_run[0] ^= 1;  // Another stamp.
  std::string beyond = s.sent[0];
  beyond[20] = 99;  // A sequence that was never sent.
  for (const std::string& bytes :
       {other_run, beyond, std::string("x"), std::string(33, '\0')}) {
    EXPECT_TRUE(s.Read(bytes));
  }
  EXPECT_EQ(s.ledger.counters().unmatched, 4u);
  EXPECT_EQ(s.ledger.outstanding(), 2u);
}

TEST(SpinWireTest, AReservedFieldThatIsSetIsARefusal) {
  Session s(Application::kSpin, "fixed:5us", Transport::kUdp, 1);
  std::string refusal = s.sent[0];
  refusal[28] = 1;
  s.Read(refusal);
  EXPECT_EQ(s.StatusOf(0), Status::kRefused);
}

TEST(SpinWireTest, AStreamComesInAnyPieces) {
  Session s(Application::kSpin, "fixed:5us", Transport::kTcp, 4);
  const std::string all = s.sent[0] + s.sent[1] + s.sent[2] + s.sent[3];
  for (size_t at = 0; at < all.size(); at += 7)
    EXPECT_TRUE(s.Read(all.substr(at, 7)));
  EXPECT_EQ(s.ledger.outstanding(), 0u);
  EXPECT_FALSE(s.Read(std::string(32, 'x')));  // Garbage ends a stream.
}

TEST(KvWireTest, RequestsAreTheProtocols) {
  Session get(Application::kKv, "get", Transport::kTcp, 1);
  EXPECT_THAT(get.sent[0], testing::MatchesRegex("get key-0000[0-9]+\r\n"));
  Session many(Application::kKv, "mget3", Transport::kTcp, 1);
  EXPECT_THAT(many.sent[0], testing::MatchesRegex(
                                "get key-[0-9]+ key-[0-9]+ key-[0-9]+\r\n"));
  Session set(Application::kKv, "set", Transport::kTcp, 1);
  EXPECT_THAT(set.sent[0],
              testing::MatchesRegex("set key-[0-9]+ 0 0 3\r\nvvv\r\n"));
}

TEST(KvWireTest, StreamAnswersComeInOrderInAnyPieces) {
  for (size_t piece = 1; piece < 60; ++piece) {
    Session s(Application::kKv, "get", Transport::kTcp, 4);
    const std::string all =
        "VALUE key-00000001 0 5\r\nEND\r\n\r\nEND\r\n"  // A value that looks like an end.
        "END\r\n"
        "SERVER_ERROR busy\r\n"
        "VALUE key-00000001 0 3 77\r\nabc\r\nEND\r\n";
    for (size_t at = 0; at < all.size(); at += piece) {
      ASSERT_TRUE(s.Read(all.substr(at, piece)));
    }
    EXPECT_EQ(s.ledger.outstanding(), 0u);
    EXPECT_EQ(s.StatusOf(0), Status::kAnswered);
    EXPECT_EQ(s.StatusOf(2), Status::kRefused);
    EXPECT_EQ(s.StatusOf(3), Status::kAnswered);
    EXPECT_EQ(s.ledger.counters().misses, 1u);
  }
}

TEST(KvWireTest, GarbageAndUnaskedAnswersEndTheStream) {
  for (const char* bytes :
       {"HELLO\r\n", "VALUE x\r\n", "VALUE k 0 -1\r\n", "END\r\nEND\r\n"}) {
    Session s(Application::kKv, "get", Transport::kTcp, 1);
    EXPECT_FALSE(s.Read(bytes)) << bytes;
    EXPECT_EQ(s.ledger.counters().unmatched, 1u);
  }
  Session s(Application::kKv, "get", Transport::kTcp, 1);
  EXPECT_FALSE(s.Read(std::string(5000, 'x')));  // A line without an end.
}

TEST(KvWireTest, LongDatagramAnswersAreJoinedInAnyOrder) {
  Session s(Application::kKv, "mget2", Transport::kUdp, 2);
  EXPECT_EQ(s.sent[1].substr(0, 8), Udp(1, 0, 1, ""));
  EXPECT_TRUE(s.Read(Udp(1, 2, 3, "ND\r\n")));
  EXPECT_TRUE(s.Read(Udp(1, 0, 3, "VALUE key-00000001 0 3\r\nab")));
  EXPECT_TRUE(s.Read(Udp(1, 0, 3, "VALUE key-00000001 0 3\r\nab")));
  EXPECT_EQ(s.ledger.outstanding(), 2u);
  EXPECT_TRUE(s.Read(Udp(1, 1, 3, "c\r\nE")));
  EXPECT_EQ(s.StatusOf(1), Status::kAnswered);
  EXPECT_EQ(s.ledger.counters().duplicates, 1u);
  EXPECT_TRUE(s.Read(Udp(0, 0, 1, "END\r\n")));
  EXPECT_EQ(s.ledger.outstanding(), 0u);
}

// memcached 1.6 sends every value as a message of its own.
TEST(KvWireTest, AnAnswerMayComeMessageByMessage) {
  Session s(Application::kKv, "mget2", Transport::kUdp, 1);
  EXPECT_TRUE(s.Read(Udp(0, 0, 1, "VALUE key-00000001 0 3\r\nabc\r\n")));
  EXPECT_EQ(s.ledger.outstanding(), 1u);
  EXPECT_TRUE(s.Read(Udp(0, 0, 1, "VALUE key-00000002 0 3\r\nabc\r\nEND\r\n")));
  EXPECT_EQ(s.StatusOf(0), Status::kAnswered);
  EXPECT_EQ(s.ledger.counters().unmatched, 0u);
}

TEST(KvWireTest, WrongDatagramsAreCounted) {
  Session s(Application::kKv, "get", Transport::kUdp, 2);
  for (const std::string& bytes :
       {std::string("short"), Udp(9, 0, 1, "END\r\n"), Udp(0, 1, 1, "END\r\n"),
        Udp(0, 0, 2000, "END\r\n"), Udp(0, 0, 1, "HELLO\r\n")}) {
    EXPECT_TRUE(s.Read(bytes));
  }
  EXPECT_EQ(s.ledger.counters().unmatched, 5u);
  EXPECT_EQ(s.ledger.outstanding(), 2u);
}

// After 65,536 requests the id of a datagram means the latest with it.
TEST(KvWireTest, RequestIdsWrap) {
  Session s(Application::kKv, "get", Transport::kUdp, 65'540);
  EXPECT_TRUE(s.Read(Udp(2, 0, 1, "END\r\n")));
  EXPECT_EQ(s.StatusOf(65'538), Status::kAnswered);
  EXPECT_EQ(s.StatusOf(2), Status::kSent);
  EXPECT_TRUE(s.Read(Udp(9, 0, 1, "END\r\n")));
  EXPECT_EQ(s.StatusOf(9), Status::kAnswered);
}

TEST(RespWireTest, RequestsAreTheProtocols) {
  Session get(Application::kRocksdb, "get", Transport::kTcp, 1);
  EXPECT_THAT(get.sent[0],
              testing::MatchesRegex("\\*2\r\n\\$3\r\nGET\r\n\\$12\r\n"
                                    "key-0000[0-9]+\r\n"));
  Session put(Application::kRocksdb, "put", Transport::kTcp, 1);
  EXPECT_THAT(put.sent[0],
              testing::MatchesRegex("\\*3\r\n\\$3\r\nSET\r\n\\$12\r\n"
                                    "key-[0-9]+\r\n\\$3\r\nvvv\r\n"));
  Session scan(Application::kRocksdb, "scan10", Transport::kUdp, 200);
  for (size_t i = 0; i < scan.sent.size(); ++i) {
    EXPECT_EQ(scan.sent[i].substr(0, 8), Udp(static_cast<int>(i), 0, 1, ""));
    EXPECT_THAT(scan.sent[i].substr(8),
                testing::MatchesRegex("\\*3\r\n\\$5\r\nRANGE\r\n\\$12\r\n"
                                      "key-[0-9]+\r\n\\$2\r\n10\r\n"));
    // Of 50 keys, so that ten follow.
    EXPECT_LE(std::stoi(scan.sent[i].substr(37, 8)), 40);
  }
}

TEST(RespWireTest, StreamAnswersComeInOrderInAnyPieces) {
  for (size_t piece = 1; piece < 60; ++piece) {
    Session s(Application::kRocksdb, "scan2", Transport::kTcp, 5);
    const std::string all =
        "*4\r\n$1\r\na\r\n$5\r\n\r\n+OK\r\n$1\r\nb\r\n$0\r\n\r\n"
        "-ERR server overloaded\r\n"
        "*2\r\n$1\r\nz\r\n$1\r\nv\r\n"  // One key less.
        "*0\r\n"                        // Two less.
        "*4\r\n$-1\r\n*1\r\n:7\r\n$1\r\nx\r\n*2\r\n$1\r\na\r\n+b\r\n";
    for (size_t at = 0; at < all.size(); at += piece) {
      ASSERT_TRUE(s.Read(all.substr(at, piece))) << piece;
    }
    EXPECT_EQ(s.ledger.outstanding(), 0u);
    EXPECT_EQ(s.StatusOf(0), Status::kAnswered);
    EXPECT_EQ(s.StatusOf(1), Status::kRefused);
    EXPECT_EQ(s.StatusOf(2), Status::kAnswered);
    EXPECT_EQ(s.StatusOf(4), Status::kAnswered);
    EXPECT_EQ(s.ledger.counters().misses, 4u);
  }
}

TEST(RespWireTest, GarbageAndUnaskedAnswersEndTheStream) {
  for (const char* bytes : {"HELLO\r\n", "$x\r\n", "$5\n", "*99999999999\r\n",
                            "\r\n", "$-1\r\n+OK\r\n"}) {
    Session s(Application::kRocksdb, "get", Transport::kTcp, 1);
    EXPECT_FALSE(s.Read(bytes)) << bytes;
    EXPECT_EQ(s.ledger.counters().unmatched, 1u);
  }
}

TEST(RespWireTest, DatagramsAreJoinedInAnyOrder) {
  Session s(Application::kRocksdb, "scan1", Transport::kUdp, 2);
  EXPECT_TRUE(s.Read(Udp(1, 1, 2, "\r\n$1\r\nv\r\n")));
  EXPECT_TRUE(s.Read(Udp(1, 0, 2, "*2\r\n$1\r\na")));
  EXPECT_EQ(s.StatusOf(1), Status::kAnswered);
  EXPECT_TRUE(s.Read(Udp(0, 0, 1, "-ERR server overloaded\r\n")));
  EXPECT_EQ(s.StatusOf(0), Status::kRefused);
  EXPECT_EQ(s.ledger.counters().misses, 0u);
}

// A store that has its keys is not filled again.
TEST(RespWireTest, AProbeIsRefusedByAKeyThatIsNotThere) {
  const auto workload = Workload::Parse(Application::kRocksdb, "put");
  const auto wire =
      MakeKvWire(Transport::kTcp, 1, *workload, {}, KvTraffic::kProbe);
  Ledger ledger(std::vector<Sample>(2));
  Lane lane;
  for (uint32_t i = 0; i < 2; ++i) {
    std::string out;
    wire->Encode({.service_ns = 42}, i, lane, out);
    EXPECT_EQ(out, "*2\r\n$3\r\nGET\r\n$12\r\nkey-00000042\r\n");
    ledger.MarkSent(i, 10);
  }
  EXPECT_TRUE(wire->Read(lane, "$0\r\n\r\n$-1\r\n", ledger));
  EXPECT_EQ(ledger.samples()[0].status, Status::kAnswered);
  EXPECT_EQ(ledger.samples()[1].status, Status::kRefused);
}

TEST(KvWireTest, PopularKeysArePopular) {
  EXPECT_FALSE(Popularity::Parse("pareto"));
  EXPECT_FALSE(Popularity::Parse("zipf:0"));
  const auto workload = Workload::Parse(Application::kKv, "get");
  const auto wire = MakeKvWire(Transport::kTcp, 1, *workload,
                               {.keys = 1000,
                                .value_bytes = 1,
                                .popularity = *Popularity::Parse("zipf:1")},
                               KvTraffic::kWorkload);
  int first = 0;
  for (uint32_t i = 0; i < 10'000; ++i) {
    Sample sample;
    sample.service_ns = i;
    Lane lane;
    std::string out;
    wire->Encode(sample, i, lane, out);
    first += out == "get key-00000000\r\n";
  }
  // 1 / H(1000) = 1 / 7.485 of the requests; standard deviation 34.
  EXPECT_NEAR(first, 1336, 170);
}

}  // namespace
}  // namespace yamanote::load
