// resp_test.cc - frames however they arrive, words, refusals, datagrams.

#include "net/resp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "net/memcached.h"

namespace yamanote::net::resp {
namespace {

using memcached::AsText;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr Options kSmall{.max_value_bytes = 10, .long_get_keys = 2};

Bytes AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// status/size+skip/class
std::string Join(const Frame& frame) {
  return std::to_string(static_cast<int>(frame.status)) + "/" +
         std::to_string(frame.size) + "+" + std::to_string(frame.skip) + "/" +
         std::to_string(frame.request_class);
}

std::string NextTcp(std::string_view input) {
  return Join(RespProtocol(kSmall).Next(AsBytes(input), Transport::kTcp));
}

std::string Array(const std::vector<std::string>& words) {
  std::string text = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return text;
}

std::vector<std::string> AllWords(std::string_view frame) {
  std::vector<std::string> out;
  Words words(frame);
  size_t left = words.left();
  while (const auto word = words.Next()) {
    out.emplace_back(*word);
    EXPECT_EQ(words.left(), --left);
  }
  return out;
}

std::string Refused(std::string_view frame, Transport transport, Refusal why,
                    bool* closes = nullptr) {
  Reply reply(4096);
  RespProtocol(kSmall).Refuse(AsBytes(frame), transport, why, reply);
  if (closes != nullptr) *closes = reply.close_after_send();
  return std::string(AsText(reply.bytes()));
}

std::string Udp(std::string_view body, char total = 1, char last = 0) {
  return std::string({0, 7, 0, 0, 0, total, 0, last}) + std::string(body);
}

TEST(RespFrameTest, AnArrayOfBulkStringsIsARequest) {
  EXPECT_EQ(NextTcp("*1\r\n$4\r\nPING\r\n*1"), "1/14+0/0");
  EXPECT_EQ(NextTcp(Array({"GET", "a\r\nb"})), "1/23+0/0");
  EXPECT_EQ(NextTcp("*2\r\n$3\r\nGET\r\n$0\r\n\r\n"), "1/19+0/0");
  // As in Redis an empty array is a request that gets no answer.
  EXPECT_EQ(NextTcp("*0\r\n"), "1/4+0/0");
  EXPECT_EQ(NextTcp("*-1\r\n"), "1/5+0/0");
}

TEST(RespFrameTest, TheLengthOfTheLastWordIsToldBeforeItIsThere) {
  EXPECT_EQ(NextTcp("*2\r\n$3\r\nGET\r\n$5\r\n"), "0/24+0/0");
  // More words come after this one; how long they are nobody knows.
  EXPECT_EQ(NextTcp("*3\r\n$3\r\nSET\r\n$5\r\n"), "0/0+0/0");
}

TEST(RespFrameTest, InlineCommandsEndAtTheNewline) {
  EXPECT_EQ(NextTcp("PING\r\nPING\r\n"), "1/6+0/0");
  EXPECT_EQ(NextTcp("get a\n"), "1/6+0/0");
  EXPECT_EQ(NextTcp("\r\n"), "1/2+0/0");
  EXPECT_EQ(NextTcp(std::string(kMaxInlineBytes - 1, 'x')), "0/0+0/0");
  EXPECT_EQ(NextTcp(std::string(kMaxInlineBytes, 'x')), "2/0+0/0");
}

TEST(RespFrameTest, TheCommandSaysTheClass) {
  EXPECT_THAT(NextTcp(Array({"get", "a"})), testing::EndsWith("/0"));
  EXPECT_THAT(NextTcp(Array({"RANGE", "a", "9"})), testing::EndsWith("/1"));
  EXPECT_THAT(NextTcp(Array({"Scan", "0"})), testing::EndsWith("/1"));
  EXPECT_THAT(NextTcp(Array({"SET", "a", "b"})), testing::EndsWith("/2"));
  EXPECT_THAT(NextTcp(Array({"PUT", "a", "b"})), testing::EndsWith("/2"));
  EXPECT_THAT(NextTcp(Array({"DEL", "a"})), testing::EndsWith("/2"));
  EXPECT_THAT(NextTcp("scan 0\r\n"), testing::EndsWith("/1"));
  EXPECT_THAT(NextTcp(Array({"MGET", "a", "b"})), testing::EndsWith("/0"));
  EXPECT_THAT(NextTcp(Array({"MGET", "a", "b", "c"})), testing::EndsWith("/1"));
  EXPECT_THAT(NextTcp(Array({"EXISTS", "a", "b"})), testing::EndsWith("/0"));
  EXPECT_THAT(NextTcp(Array({"EXISTS", "a", "b", "c"})),
              testing::EndsWith("/1"));
  EXPECT_THAT(NextTcp(Array({"DEL", "a", "b"})), testing::EndsWith("/2"));
  EXPECT_THAT(NextTcp(Array({"DEL", "a", "b", "c"})), testing::EndsWith("/1"));
}

TEST(RespFrameTest, AValueOverTheLimitIsSkippedUnseen) {
  EXPECT_EQ(NextTcp("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$11\r\n"), "1/25+13/2");
  EXPECT_EQ(NextTcp("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\n"),
            "1/32+536870914/2");
  // Behind it comes a word whose length nobody can tell.
  EXPECT_EQ(NextTcp("*3\r\n$3\r\nSET\r\n$11\r\n"), "2/0+0/0");
}

TEST(RespFrameTest, WhatIsMalformedEndsTheConnectionInTheWordsOfRedis) {
  const std::pair<std::string, const char*> cases[] = {
      {"*1025\r\n", "invalid multibulk length"},
      {"*x\r\n", "invalid multibulk length"},
      {"*1 \r\n", "invalid multibulk length"},
      {"*\r\n", "invalid multibulk length"},
      {"*1\rx", "invalid multibulk length"},
      {"*111111111111111111111", "invalid multibulk length"},
      {"*1\r\nPING\r\n", "expected '$', got 'P'"},
      {"*1\r\n\nPING\r\n", "expected '$', got ' '"},
      {"*1\r\n$-1\r\n", "invalid bulk length"},
      {"*1\r\n$536870913\r\n", "invalid bulk length"},
      {"*1\r\n$4\r\nPINGxx", "bulk string without its end of line"},
      {"POST / HTTP/1.1\r\n", "this is no HTTP server"},
      {"Host: localhost\r\n", "this is no HTTP server"},
      {std::string(kMaxInlineBytes, 'x'), "too big inline request"},
  };
  for (const auto& [input, words] : cases) {
    EXPECT_EQ(NextTcp(input), "2/0+0/0") << input;
    bool closes = false;
    EXPECT_EQ(Refused(input, Transport::kTcp, Refusal::kMalformed, &closes),
              std::string("-ERR Protocol error: ") + words + "\r\n");
    EXPECT_TRUE(closes) << input;
  }
}

TEST(RespFrameTest, RefusalsAreErrorsOfOneLine) {
  bool closes = true;
  const std::string get = Array({"GET", "a"});
  EXPECT_EQ(Refused(get, Transport::kTcp, Refusal::kOverloaded, &closes),
            "-ERR server overloaded, try again later\r\n");
  EXPECT_FALSE(closes);
  EXPECT_EQ(Refused(get, Transport::kTcp, Refusal::kShutdown, &closes),
            "-ERR server is shutting down\r\n");
  EXPECT_FALSE(closes);
  EXPECT_THAT(Refused(get, Transport::kTcp, Refusal::kTooLarge, &closes),
              HasSubstr("too large"));
  EXPECT_TRUE(closes);
  EXPECT_EQ(Refused("", Transport::kTcp, Refusal::kOverloaded),
            "-ERR max number of clients reached\r\n");
}

// What is served without an answer is refused without one.
TEST(RespFrameTest, WhatHasNoAnswerHasNoRefusal) {
  for (const Refusal why : {Refusal::kOverloaded, Refusal::kShutdown}) {
    for (const char* frame : {"\r\n", "  \n", "*0\r\n", "*-1\r\n"})
      EXPECT_EQ(Refused(frame, Transport::kTcp, why), "") << frame;
    // A name over the limit is withheld; it has an answer.
    EXPECT_THAT(Refused("*1\r\n$11\r\n", Transport::kTcp, why),
                testing::StartsWith("-ERR"));
  }
}

TEST(RespWordsTest, WordsAreWhatTheFrameHolds) {
  EXPECT_THAT(AllWords(Array({"SET", "a b", "", "c\r\nd"})),
              ElementsAre("SET", "a b", "", "c\r\nd"));
  EXPECT_THAT(AllWords("  get  a b \r\n"), ElementsAre("get", "a", "b"));
  EXPECT_THAT(AllWords("\r\n"), ElementsAre());
  EXPECT_THAT(AllWords("*0\r\n"), ElementsAre());
}

TEST(RespWordsTest, AWithheldValueIsToldByItsLength) {
  Words words("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$11\r\n");
  words.Next();
  words.Next();
  EXPECT_EQ(words.withheld(), 0u);
  EXPECT_EQ(words.Next(), std::nullopt);
  EXPECT_EQ(words.withheld(), 11u);
}

TEST(RespUdpTest, ADatagramIsOneWholeCommand) {
  const auto next = [](const std::string& datagram) {
    return Join(RespProtocol(kSmall).Next(AsBytes(datagram), Transport::kUdp));
  };
  const std::string scan = Array({"SCAN", "0"});
  EXPECT_EQ(next(Udp(scan)), "1/" + std::to_string(8 + scan.size()) + "+0/1");
  EXPECT_EQ(next(Udp("PING\r\n")), "1/14+0/0");
  for (const std::string& wrong :
       {Udp(""), Udp("PING"), Udp("PING\r\nPING\r\n"), Udp("PING\r\n", 2),
        Udp("PING\r\n", 1, 1), std::string("short"),
        Udp("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$11\r\n")}) {
    EXPECT_EQ(next(wrong), "2/" + std::to_string(wrong.size()) + "+0/0");
  }
}

// Who answers an answer may do so for ever: a sender is easily forged.
TEST(RespUdpTest, AnswersAreNotAnswered) {
  EXPECT_EQ(Refused(Udp("+OK\r\n", 1, 1), Transport::kUdp, Refusal::kMalformed),
            "");
  EXPECT_EQ(Refused("short", Transport::kUdp, Refusal::kMalformed), "");
  const std::string refusal =
      Refused(Udp("PING"), Transport::kUdp, Refusal::kMalformed);
  EXPECT_EQ(refusal.substr(0, 8), Udp("", 1, 1));
  EXPECT_THAT(refusal, HasSubstr("one whole command"));
  EXPECT_EQ(Refused(refusal, Transport::kUdp, Refusal::kMalformed), "");
}

// Frames the stream as a server does whose reads return pieces of `piece()`.
template <typename Piece>
std::vector<std::string> FrameStream(std::string_view stream, Piece&& piece) {
  const RespProtocol protocol(kSmall);
  std::vector<std::string> frames;
  size_t begin = 0;
  size_t end = 0;
  while (begin < stream.size()) {
    const size_t there = end > begin ? end - begin : 0;
    const Frame frame =
        protocol.Next(AsBytes(stream.substr(begin, there)), Transport::kTcp);
    if (frame.status == Frame::Status::kNeedMore) {
      if (end >= stream.size()) break;
      end = std::min(stream.size(), std::max(end, begin) + piece());
      continue;
    }
    frames.push_back(std::to_string(begin) + ":" + Join(frame));
    if (frame.size == 0) break;  // The connection would be closed.
    begin += frame.size + frame.skip;
  }
  return frames;
}

TEST(RespStreamTest, FramesDoNotDependOnHowTheyArrive) {
  const std::string parts[] = {
      Array({"GET", "key"}),
      Array({"SET", "k", "v\r\n*1\r\n"}),
      "PING\r\n",
      "*0\r\n",
      "\r\n",
      "*2\r\n$4\r\nECHO\r\n$12\r\n" + std::string(14, 'x'),
      Array({"MGET", "", "b", "c"}),
      "*1\r\n$x\r\n",
      Array({"RANGE", "a", "10"})};
  const auto seed =
      static_cast<unsigned>(testing::UnitTest::GetInstance()->random_seed());
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    std::string stream;
    for (int i = 0; i < 8; ++i) stream += parts[random() % std::size(parts)];
    const auto whole = FrameStream(stream, [&] { return stream.size(); });
    EXPECT_EQ(FrameStream(stream, [] { return size_t{1}; }), whole) << stream;
    EXPECT_EQ(FrameStream(stream, [&] { return 1 + random() % 20; }), whole)
        << "seed " << seed << ": " << stream;
  }
}

}  // namespace
}  // namespace yamanote::net::resp
