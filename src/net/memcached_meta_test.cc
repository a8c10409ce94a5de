// memcached_meta_test.cc - meta flags and base64.

#include "net/memcached_meta.h"

#include <gtest/gtest.h>

#include <string>

namespace yamanote::net::memcached {
namespace {

std::string Encode(std::string_view bytes) {
  std::string text;
  EncodeBase64(bytes, [&](std::string_view group) { text += group; });
  return text;
}

std::string Decode(std::string_view text) {
  char out[kMaxKeyBytes];
  return {out, DecodeBase64(text, out)};
}

// The examples of RFC 4648, section 10.
TEST(Base64Test, MatchesTheStandard) {
  const std::pair<std::string, std::string> kCases[] = {
      {"f", "Zg=="},        {"fo", "Zm8="},        {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : kCases) {
    EXPECT_EQ(Encode(plain), text);
    EXPECT_EQ(Decode(text), plain);
  }
}

TEST(Base64Test, RefusesWhatIsNone) {
  for (const auto* bad :
       {"", "Zg", "Zg=", "Z===", "====", "Zm9v!", "Z!==", "Zg==Zg=="}) {
    EXPECT_EQ(Decode(bad), "") << bad;
  }
  char small[2];
  EXPECT_EQ(DecodeBase64("Zm9v", small), 0u);
}

TEST(MetaTest, FlagsCarryTheirTokens) {
  const MetaCommand command = ParseMeta(
      Verb::kMetaSet, Tokens("key 5 T30 F7 C9 E11 MA N5 q k Oopaque c I s"));
  EXPECT_EQ(command.error, "");
  EXPECT_EQ(command.key(), "key");
  EXPECT_EQ(command.value_bytes, 5u);
  EXPECT_EQ(command.exptime, 30);
  EXPECT_EQ(command.client_flags, 7u);
  EXPECT_EQ(command.compare_cas, 9u);
  EXPECT_EQ(command.new_cas, 11u);
  EXPECT_EQ(command.vivify_exptime, 5);
  EXPECT_EQ(command.mode, 'A');
  EXPECT_TRUE(command.quiet);
  EXPECT_TRUE(command.Has('I'));
  EXPECT_EQ(command.flags().size(), 12u);
}

TEST(MetaTest, BinaryKeysAreDecoded) {
  const MetaCommand command = ParseMeta(Verb::kMetaGet, Tokens("Zm8= v b"));
  EXPECT_EQ(command.error, "");
  EXPECT_EQ(command.key(), "fo");
  EXPECT_EQ(command.sent_key, "Zm8=");
}

TEST(MetaTest, ErrorsNameWhatIsWrong) {
  const std::string long_key(kMaxKeyBytes + 1, 'k');
  const std::pair<std::string, std::string> kCases[] = {
      {"", "CLIENT_ERROR bad command line format\r\n"},
      {long_key, "CLIENT_ERROR bad command line format\r\n"},
      {"a v v", "CLIENT_ERROR duplicate flag\r\n"},
      {"a y", "CLIENT_ERROR invalid flag\r\n"},
      {"a Tx", "CLIENT_ERROR bad token in command line format\r\n"},
      {"a N", "CLIENT_ERROR bad token in command line format\r\n"},
      {"a b", "CLIENT_ERROR error decoding key\r\n"},
      {"a O" + std::string(32, 'x'), "CLIENT_ERROR opaque token too long\r\n"},
      {"a b c f h k l q s t u v O1 N1 R1 T1 E1 C1 P",
       "CLIENT_ERROR options flags are too long\r\n"}};
  for (const auto& [line, error] : kCases) {
    EXPECT_EQ(ParseMeta(Verb::kMetaGet, Tokens(line)).error, error) << line;
  }
  EXPECT_EQ(ParseMeta(Verb::kMetaArithmetic, Tokens("a Mxx")).error,
            "CLIENT_ERROR incorrect length for M token\r\n");
  EXPECT_EQ(ParseMeta(Verb::kMetaArithmetic, Tokens("a D")).error,
            "CLIENT_ERROR invalid numeric delta value\r\n");
  EXPECT_EQ(ParseMeta(Verb::kMetaSet, Tokens("a -1")).error,
            "CLIENT_ERROR bad command line format\r\n");
}

}  // namespace
}  // namespace yamanote::net::memcached
