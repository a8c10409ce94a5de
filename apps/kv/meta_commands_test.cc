// meta_commands_test.cc - what the meta commands answer.
//
// The expected answers are those that memcached 1.6.18 gave to the same bytes,
// but for E, x and s of ms, which later versions of 1.6 document.

#include <gtest/gtest.h>

#include <string>

#include "apps/kv/test_server.h"

namespace yamanote::kv {
namespace {

using namespace std::chrono_literals;

class MetaCommandsTest : public testing::Test {
 protected:
  void Expect(const std::string& sent, const std::string& answered) {
    EXPECT_EQ(server_.Send(sent), answered) << "sent: " << sent;
    EXPECT_EQ(server_.unused_bytes(), 0u) << "sent: " << sent;
  }

  TestServer server_;
};

TEST_F(MetaCommandsTest, NoOp) {
  Expect("mn\r\n", "MN\r\n");
  Expect("mn foo\r\n", "MN\r\n");
}

TEST_F(MetaCommandsTest, GetReturnsWhatItIsAskedFor) {
  server_.Send("ms a 1 T90 F5 E33\r\nx\r\n");
  server_.Advance(4s);
  Expect("mg a\r\n", "HD\r\n");
  Expect("mg a s v t f c k O123 h l\r\n",
         "VA 1 s1 t86 f5 c33 ka O123 h1 l0\r\nx\r\n");
  server_.Advance(2s);
  Expect("mg a h l u\r\n", "HD h1 l2\r\n");
  Expect("mg a l\r\n", "HD l2\r\n");  // u did not count as an access.
  Expect("mg a v q\r\n", "VA 1\r\nx\r\n");
  Expect("mg a T30 t\r\n", "HD t30\r\n");
  Expect("mg a T0 t\r\n", "HD t-1\r\n");
  Expect("mg a v C33 c\r\n", "HD c33\r\n");
  Expect("mg a v C32 c\r\n", "VA 1 c33\r\nx\r\n");
}

TEST_F(MetaCommandsTest, GetMisses) {
  Expect("mg nokey\r\n", "EN\r\n");
  Expect("mg nokey k O1 v\r\n", "EN knokey O1\r\n");
  Expect("mg nokey q\r\n", "");
  Expect("mg\r\n", "ERROR\r\n");
  Expect("mg a v v\r\n", "CLIENT_ERROR duplicate flag\r\n");
}

TEST_F(MetaCommandsTest, VivifyGivesOneClientTheToken) {
  Expect("mg a N30 t v E9 c\r\n", "VA 0 t30 c9 W\r\n\r\n");
  Expect("mg a t v\r\n", "VA 0 t30 Z\r\n\r\n");
  Expect("mg a N30 v\r\n", "VA 0 Z\r\n\r\n");
  server_.Send("ms a 1 T30\r\nx\r\n");
  Expect("mg a v\r\n", "VA 1\r\nx\r\n");
}

TEST_F(MetaCommandsTest, RecacheWinsBelowTheLimit) {
  server_.Send("ms a 1 T100\r\nx\r\n");
  Expect("mg a R60\r\n", "HD\r\n");
  server_.Advance(50s);
  Expect("mg a R60\r\n", "HD W\r\n");
  Expect("mg a R60\r\n", "HD Z\r\n");
}

TEST_F(MetaCommandsTest, StaleItemsAskOneClientToRefresh) {
  server_.Send("ms a 1 E5\r\nx\r\n");
  Expect("md a I T30 E7\r\n", "HD\r\n");
  Expect("mg a c v t\r\n", "VA 1 c7 t30 X W\r\nx\r\n");
  Expect("mg a c v\r\n", "VA 1 c7 Z X\r\nx\r\n");
  // An older value may come late: it is stored, but as stale.
  Expect("ms a 2 I C5\r\nab\r\n", "HD\r\n");
  EXPECT_TRUE(server_.Send("mg a v\r\n").starts_with("VA 2 X W\r\n"));
  Expect("ms a 2\r\ncd\r\n", "HD\r\n");
  Expect("mg a v\r\n", "VA 2\r\ncd\r\n");
}

TEST_F(MetaCommandsTest, SetModes) {
  Expect("ms a 2 MR k O5\r\nab\r\n", "NS ka O5\r\n");
  Expect("ms a 2 MA\r\nab\r\n", "NS\r\n");
  Expect("ms a 2 MA N10 s\r\nab\r\n", "HD s2\r\n");
  Expect("mg a v t\r\n", "VA 2 t10\r\nab\r\n");
  Expect("ms a 2 ME\r\nab\r\n", "NS\r\n");
  Expect("ms a 1 MA s\r\nc\r\n", "HD s3\r\n");
  Expect("ms a 1 MP\r\n0\r\n", "HD\r\n");
  Expect("ms a 1 C1\r\nx\r\n", "EX\r\n");
  Expect("ms a 1 MA C1\r\nx\r\n", "EX\r\n");
  Expect("ms b 1 C1\r\nx\r\n", "NF\r\n");
  Expect("mg a v\r\n", "VA 4\r\n0abc\r\n");
  Expect("ms a 1 MS q\r\nx\r\nmn\r\n", "MN\r\n");
  Expect("ms a 1 ME q\r\nx\r\nmn\r\n", "NS\r\nMN\r\n");
  Expect("ms a 1 E77 c\r\nx\r\n", "HD c77\r\n");
}

TEST_F(MetaCommandsTest, SetErrorsSwallowTheData) {
  Expect("ms a 2 Mx\r\nab\r\n", "CLIENT_ERROR invalid mode for ms M token\r\n");
  Expect("ms a 2 Tx\r\nab\r\n",
         "CLIENT_ERROR bad token in command line format\r\n");
  Expect("ms a 3 b\r\nabc\r\n", "CLIENT_ERROR error decoding key\r\n");
  Expect("ms a 2\r\nabc\r\n", "CLIENT_ERROR bad data chunk\r\nERROR\r\n");
  const std::string bad_line = "CLIENT_ERROR bad command line format\r\n";
  Expect("ms a\r\n", bad_line);
  Expect("ms a S2\r\nab\r\n", bad_line + "ERROR\r\n");
  Expect("ms a -1\r\nmn\r\n", bad_line + "MN\r\n");
}

TEST_F(MetaCommandsTest, BinaryKeysComeBackAsTheyWere) {
  Expect("ms YQ== 3 b k\r\nabc\r\n", "HD kYQ== b\r\n");
  Expect("mg a v k\r\n", "VA 3 kYQ== b\r\nabc\r\n");
  Expect("mg YQ== b v\r\n", "VA 3\r\nabc\r\n");
  Expect("md YQ== b k\r\n", "HD kYQ== b\r\n");
  Expect("mg YQ== b k v\r\n", "EN kYQ== b\r\n");
  Expect("ma YQ== b N0 J5 v k\r\n", "VA 1 kYQ== b\r\n5\r\n");
}

TEST_F(MetaCommandsTest, Delete) {
  server_.Send("ms a 1 F3 E5\r\nx\r\n");
  Expect("md a C4\r\n", "EX\r\n");
  Expect("md a x E6\r\n", "HD\r\n");
  Expect("mg a v f c\r\n", "VA 0 f0 c6\r\n\r\n");
  Expect("md a C6 q\r\n", "");
  Expect("md a q k\r\n", "NF ka\r\n");
  Expect("md a k O1\r\n", "NF ka O1\r\n");
}

TEST_F(MetaCommandsTest, Arithmetic) {
  Expect("ma n\r\n", "NF\r\n");
  Expect("ma n N0 J13 v\r\n", "VA 2\r\n13\r\n");
  Expect("ma n v D5 t k O9 \r\n", "VA 2 t-1 kn O9\r\n18\r\n");
  Expect("ma n MD D100 v\r\n", "VA 1\r\n0\r\n");
  Expect("ma n MI v T40 t E8 c\r\n", "VA 1 t40 c8\r\n1\r\n");
  Expect("ma n M- v C8\r\n", "VA 1\r\n0\r\n");
  Expect("ma n C8\r\n", "EX\r\n");
  Expect("ma n Mx\r\n", "CLIENT_ERROR invalid mode for ma M token\r\n");
  Expect("ma n q\r\n", "");
  server_.Send("set a 0 0 1\r\nx\r\n");
  Expect("ma a\r\n",
         "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
}

TEST_F(MetaCommandsTest, DebugTellsWhatIsKnown) {
  server_.Send("ms a 1 T90 E5\r\nx\r\n");
  server_.Advance(10s);
  Expect("me a\r\n", "ME a exp=80 la=10 cas=5 fetch=no cls=1 size=128\r\n");
  server_.Send("mg a\r\n");
  Expect("me a\r\n", "ME a exp=80 la=0 cas=5 fetch=yes cls=1 size=128\r\n");
  Expect("me nokey\r\n", "EN\r\n");
  Expect("me\r\n", "CLIENT_ERROR bad command line format\r\n");
}

}  // namespace
}  // namespace yamanote::kv
