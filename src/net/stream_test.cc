// stream_test.cc - the connection's pure part, in virtual time.

#include "net/stream.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>

#include "net/line_protocol.h"

namespace yamanote::net {
namespace {

using namespace std::chrono_literals;
using Next = Stream::Next;

constexpr Instant kStart = FromNanos(1'000'000'000);

class StreamTest : public testing::Test {
 protected:
  StreamTest() { stream_.Reset(now_); }

  // Gives the stream `text`; false if it has no more space before the end.
  bool Input(std::string_view text) {
    while (!text.empty()) {
      if (stream_.Advance(counters_) != Next::kRead) return false;
      const auto space = stream_.ReadSpace();
      const size_t n = std::min(space.size(), text.size());
      std::memcpy(space.data(), text.data(), n);
      stream_.OnRead(n, now_);
      text.remove_prefix(n);
    }
    return true;
  }

  std::string FrameText() {
    const Bytes bytes = stream_.frame_bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  // The service: answers "<" + request.
  void Handle() {
    stream_.BeginRequest();
    stream_.reply().Append("<");
    stream_.reply().Append(stream_.frame_bytes());
    stream_.FinishRequest(counters_);
  }

  std::string TakeOutput() {
    const Bytes bytes = stream_.Unsent();
    std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    stream_.OnSent(bytes.size());
    return text;
  }

  // Runs everything that can run and returns what was sent.
  std::string RunAll() {
    std::string sent;
    for (;;) {
      switch (stream_.Advance(counters_)) {
        case Next::kRequest:
          Handle();
          break;
        case Next::kSend:
          sent += TakeOutput();
          break;
        case Next::kRead:
          if (!stream_.must_look()) return sent;
          stream_.OnNoInput();
          break;
        case Next::kClose:
          return sent + "[closed]";
      }
    }
  }

  Instant now_ = kStart;
  LineProtocol protocol_;
  StreamLimits limits_{.max_request_bytes = 8192,
                       .max_reply_bytes = 32768,
                       .idle_timeout = 60s,
                       .request_timeout = 10s,
                       .send_timeout = 30s};
  Counters counters_;
  Stream stream_{protocol_, limits_};
};

TEST_F(StreamTest, RequestsSplitAnywhereAreFound) {
  const std::string text = "one\ntwo\nS3\nxyzthree\n";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    std::string sent;
    ASSERT_TRUE(Input(text.substr(0, cut)));
    sent += RunAll();
    ASSERT_TRUE(Input(text.substr(cut)));
    sent += RunAll();
    EXPECT_EQ(sent, "<one\n<two\n<S3\n<three\n") << "cut at " << cut;
  }
}

TEST_F(StreamTest, PipelinedRepliesWaitForOneSend) {
  ASSERT_TRUE(Input("a\nb\nc\n"));
  for (const char* request : {"a\n", "b\n", "c\n"}) {
    ASSERT_EQ(stream_.Advance(counters_), Next::kRequest);
    EXPECT_EQ(FrameText(), request);
    Handle();
  }
  ASSERT_EQ(stream_.Advance(counters_), Next::kSend);
  EXPECT_EQ(TakeOutput(), "<a\n<b\n<c\n");
  EXPECT_EQ(stream_.Advance(counters_), Next::kRead);
}

TEST_F(StreamTest, ACollectedBatchIsSentBeforeMoreRequestsRun) {
  ASSERT_TRUE(Input("a\nb\n"));
  ASSERT_EQ(stream_.Advance(counters_), Next::kRequest);
  stream_.BeginRequest();
  stream_.reply().Append(std::string(Stream::kReplyBatchBytes, 'x'));
  stream_.FinishRequest(counters_);
  EXPECT_EQ(stream_.Advance(counters_), Next::kSend);
  TakeOutput();
  EXPECT_EQ(stream_.Advance(counters_), Next::kRequest);
}

TEST_F(StreamTest, ABlockedSendTakesNoNewRequest) {
  ASSERT_TRUE(Input("a\nb\n"));
  ASSERT_EQ(stream_.Advance(counters_), Next::kRequest);
  Handle();
  stream_.OnSendBlocked(now_);
  EXPECT_EQ(stream_.Advance(counters_), Next::kSend);
  stream_.OnSent(1);
  stream_.OnSendBlocked(now_);
  EXPECT_EQ(stream_.Advance(counters_), Next::kSend);
  TakeOutput();
  EXPECT_EQ(stream_.Advance(counters_), Next::kRequest);
}

TEST_F(StreamTest, MalformedLinesAreAnsweredAndSkipped) {
  ASSERT_TRUE(Input("a\n!bad\nb\n"));
  EXPECT_EQ(RunAll(), "<a\nE2\n<b\n");
  EXPECT_EQ(counters_.Get(Counter::kMalformed), 1u);
}

TEST_F(StreamTest, InputThatCannotBeFramedIsAnsweredAndClosed) {
  ASSERT_TRUE(Input("a\n?b\n"));
  EXPECT_EQ(RunAll(), "<a\nE2\n[closed]");
}

TEST_F(StreamTest, AFrameThatNeverEndsIsRefusedAtTheLimit) {
  EXPECT_TRUE(Input(std::string(8191, 'a')));
  EXPECT_EQ(RunAll(), "");
  EXPECT_TRUE(Input("a"));
  EXPECT_EQ(RunAll(), "E1\n[closed]");
  EXPECT_EQ(counters_.Get(Counter::kTooLarge), 1u);
}

// Counts the bytes that the protocol looks at.
class CountedProtocol final : public Protocol {
 public:
  Frame Next(Bytes input, Transport transport) const override {
    looked_at += input.size();
    return lines_.Next(input, transport);
  }
  void Refuse(Bytes frame, Transport transport, Refusal why,
              Reply& reply) const override {
    lines_.Refuse(frame, transport, why, reply);
  }

  mutable size_t looked_at = 0;

 private:
  LineProtocol lines_;
};

// A client that sends byte by byte must not cost the square of what it sends.
TEST_F(StreamTest, ALongLineIsNotSearchedFromItsStartAtEachRead) {
  const CountedProtocol counted;
  Stream stream(counted, limits_);
  stream.Reset(now_);
  std::string line(5001, 'x');
  line.back() = '\n';
  for (int round = 0; round < 2; ++round) {
    for (const char letter : line) {
      ASSERT_EQ(stream.Advance(counters_), Next::kRead);
      stream.ReadSpace()[0] = static_cast<std::byte>(letter);
      stream.OnRead(1, now_);
    }
    ASSERT_EQ(stream.Advance(counters_), Next::kRequest);
    EXPECT_EQ(stream.frame().size, line.size());
    stream.BeginRequest();
    stream.FinishRequest(counters_);
  }
  // The first byte and the whole line, twice.
  EXPECT_EQ(counted.looked_at, 2 * (1 + line.size()));
}

TEST_F(StreamTest, AFrameAnnouncedTooLargeIsRefusedBeforeItComes) {
  EXPECT_TRUE(Input("N8193:"));
  EXPECT_EQ(RunAll(), "E1\n[closed]");
}

TEST_F(StreamTest, AFrameOfTheLargestSizeIsARequest) {
  const std::string request = "N8192:" + std::string(8192 - 6, 'z');
  // Not at the buffer's start.
  EXPECT_TRUE(Input("a\n" + request.substr(0, 100)));
  std::string sent = RunAll();
  EXPECT_TRUE(Input(request.substr(100)));
  EXPECT_TRUE(sent + RunAll() == "<a\n<" + request);
}

TEST_F(StreamTest, HalfCloseAnswersWhatCameThenCloses) {
  ASSERT_TRUE(Input("a\nb\n"));
  stream_.OnEndOfInput();
  EXPECT_EQ(RunAll(), "<a\n<b\n[closed]");
  EXPECT_EQ(counters_.Get(Counter::kTruncated), 0u);
}

TEST_F(StreamTest, InputThatEndsInsideARequestIsCounted) {
  ASSERT_TRUE(Input("a\nhal"));
  stream_.OnEndOfInput();
  EXPECT_EQ(RunAll(), "<a\n[closed]");
  EXPECT_EQ(counters_.Get(Counter::kTruncated), 1u);
}

TEST_F(StreamTest, DrainingRefusesWhatIsNotRunningAndCloses) {
  ASSERT_TRUE(Input("a\nb\n"));
  ASSERT_EQ(stream_.Advance(counters_), Next::kRequest);
  stream_.Drain();
  ASSERT_EQ(stream_.Advance(counters_), Next::kRequest);
  Handle();
  EXPECT_EQ(RunAll(), "<a\nE3\n[closed]");
  EXPECT_EQ(counters_.Get(Counter::kShutdown), 1u);
}

TEST_F(StreamTest, DrainingClosesAnIdleStream) {
  EXPECT_EQ(stream_.Advance(counters_), Next::kRead);
  stream_.Drain();
  // Something may have come that nobody has read.
  EXPECT_EQ(stream_.Advance(counters_), Next::kRead);
  stream_.OnNoInput();
  EXPECT_EQ(stream_.Advance(counters_), Next::kClose);
}

TEST_F(StreamTest, DrainingRefusesEverythingThatComesUntilThereIsNoMore) {
  stream_.Drain();
  ASSERT_TRUE(Input("a\nb\nS2\nxxc\nhal"));
  EXPECT_EQ(RunAll(), "E3\nE3\nE3\nE3\n[closed]");
  EXPECT_EQ(counters_.Get(Counter::kShutdown), 4u);
}

// While an answer is sent more may come, and its sender could not know.
TEST_F(StreamTest, DrainingLooksAgainAfterTheLastAnswer) {
  ASSERT_TRUE(Input("a\n"));
  stream_.Drain();
  ASSERT_EQ(stream_.Advance(counters_), Next::kSend);
  stream_.OnNoInput();
  TakeOutput();
  ASSERT_EQ(stream_.Advance(counters_), Next::kRead);
  ASSERT_TRUE(Input("b\n"));
  EXPECT_EQ(RunAll(), "E3\n[closed]");
}

TEST_F(StreamTest, ARefusedRequestIsAnsweredInTheProtocolsWords) {
  ASSERT_TRUE(Input("a\nS2\nxxb\n"));
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(stream_.Advance(counters_), Next::kRequest);
    stream_.RefuseRequest(Refusal::kOverloaded, counters_);
  }
  EXPECT_EQ(RunAll(), "E0\nE0\n<b\n");
}

// A byte a second keeps the peer from being idle, not from being too slow.
TEST_F(StreamTest, OneByteASecondMissesTheRequestsDeadline) {
  const Instant first = now_;
  for (int i = 0; i < 9; ++i) {
    ASSERT_TRUE(Input("x"));
    ASSERT_EQ(RunAll(), "");
    EXPECT_EQ(stream_.Deadline(), first + 10s);
    now_ += 1s;
  }
}

TEST_F(StreamTest, DeadlinesFollowWhatTheStreamWaitsFor) {
  EXPECT_EQ(stream_.Advance(counters_), Next::kRead);
  EXPECT_EQ(stream_.Deadline(), kStart + 60s);  // Idle.
  now_ += 5s;
  ASSERT_TRUE(Input("a\nb"));
  ASSERT_EQ(stream_.Advance(counters_), Next::kRequest);
  stream_.BeginRequest();
  EXPECT_EQ(stream_.Deadline(), kNever);  // The service may take its time.
  Handle();
  ASSERT_EQ(stream_.Advance(counters_), Next::kSend);
  now_ += 5s;
  stream_.OnSendBlocked(now_);
  EXPECT_EQ(stream_.Deadline(), now_ + 30s);
  now_ += 5s;
  stream_.OnSendBlocked(now_);  // No progress: the deadline stays.
  EXPECT_EQ(stream_.Deadline(), now_ + 25s);
  TakeOutput();
  EXPECT_EQ(RunAll(), "");
  EXPECT_EQ(stream_.Deadline(), kStart + 5s + 10s);  // "b" waits for its end.
}

TEST_F(StreamTest, AReplyOverTheLimitIsForTheHandlerToAnswer) {
  ASSERT_TRUE(Input("a\n"));
  ASSERT_EQ(stream_.Advance(counters_), Next::kRequest);
  stream_.BeginRequest();
  EXPECT_FALSE(stream_.reply().Append(std::string(32769, 'x')));
  EXPECT_TRUE(stream_.reply().Append("sorry\n"));
  stream_.FinishRequest(counters_);
  EXPECT_EQ(RunAll(), "sorry\n");
}

// Within all limits, so nobody counts them: one for each connection ever open.
TEST_F(StreamTest, AClosedStreamKeepsLittleMemory) {
  std::string line(5001, 'x');
  line.back() = '\n';
  ASSERT_TRUE(Input(line));
  RunAll();
  ASSERT_GT(stream_.ReadSpace().size(), 4096u);
  ASSERT_GT(stream_.reply().capacity(), 4096u);
  stream_.GiveMemoryBack();
  EXPECT_LE(stream_.reply().capacity(), 4096u);
  EXPECT_EQ(stream_.ReadSpace().size(), 4096u);
}

TEST_F(StreamTest, AReusedStreamRemembersNothing) {
  for (const char* unfinished : {"N8192:xx", "a line until its end"}) {
    ASSERT_TRUE(Input(unfinished));
    EXPECT_EQ(RunAll(), "");
    stream_.OnEndOfInput();
    EXPECT_EQ(RunAll(), "[closed]");
    stream_.Reset(now_);
    ASSERT_TRUE(Input("a\n"));
    EXPECT_EQ(RunAll(), "<a\n");
  }
}

}  // namespace
}  // namespace yamanote::net
