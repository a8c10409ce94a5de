// reply_test.cc - limits of one reply, and of all replies together.

#include <gtest/gtest.h>

#include <string>

#include "net/memory_budget.h"
#include "yamanote/service.h"

namespace yamanote {
namespace {

constexpr size_t kFree = net::MemoryBudget::kFreeBytes;

std::string Text(const Reply& reply) {
  const Bytes bytes = reply.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(ReplyTest, RefusesWhatExceedsItsLimitWhole) {
  Reply reply(8);
  EXPECT_TRUE(reply.Append("12345"));
  EXPECT_FALSE(reply.Append("6789"));
  EXPECT_EQ(Text(reply), "12345") << "nothing of the refused one is in it";
  EXPECT_TRUE(reply.Append("678"));
  EXPECT_FALSE(reply.Append("9"));
  EXPECT_EQ(Text(reply), "12345678");
}

TEST(ReplyTest, ReservingPromisesThatAppendingFits) {
  Reply reply(8);
  ASSERT_TRUE(reply.Append("12"));
  EXPECT_FALSE(reply.Reserve(7));
  EXPECT_TRUE(reply.Reserve(6));
  EXPECT_EQ(Text(reply), "12") << "nothing but room is made";
  EXPECT_TRUE(reply.Append("345678"));
}

TEST(ReplyTest, APartMayBeNoLongerThanTheReply) {
  Reply reply(8);
  Reply part = reply.Scratch(100), shorter = reply.Scratch(4);
  EXPECT_FALSE(part.Append("123456789"));
  EXPECT_TRUE(part.Append("12345678"));
  EXPECT_FALSE(shorter.Append("12345"));
}

TEST(ReplyTest, ClearMakesItNew) {
  Reply reply(8);
  ASSERT_TRUE(reply.Append("12345678"));
  reply.CloseAfterSend();
  reply.Clear(kFree);
  EXPECT_TRUE(reply.bytes().empty());
  EXPECT_FALSE(reply.close_after_send());
  EXPECT_TRUE(reply.Append("12345678"));
}

TEST(ReplyTest, SmallRepliesNeedNoShareOfTheBudget) {
  net::MemoryBudget none(0);
  Reply reply(kFree, &none);
  EXPECT_TRUE(reply.Append(std::string(kFree, 'x')));
  EXPECT_EQ(none.used(), 0u);
}

TEST(ReplyTest, LargeOnesShareTheBudgetAndGiveItBack) {
  net::MemoryBudget memory(4 * kFree);
  Reply first(16 * kFree, &memory), second(16 * kFree, &memory);
  ASSERT_TRUE(first.Append(std::string(3 * kFree, 'x')));
  EXPECT_GT(memory.used(), 0u);
  EXPECT_FALSE(second.Append(std::string(4 * kFree, 'y')));
  EXPECT_TRUE(second.bytes().empty());
  EXPECT_TRUE(second.Append(std::string(kFree, 'y'))) << "always possible";
  first.Clear(kFree);
  EXPECT_EQ(memory.used(), 0u);
  EXPECT_TRUE(second.Append(std::string(kFree, 'y')));
  EXPECT_GT(memory.used(), 0u);
  second.Discard(16);
  EXPECT_EQ(Text(second), std::string(16, 'y'));
  EXPECT_EQ(memory.used(), 0u) << "what is left waits in a buffer of its size";
}

TEST(ReplyTest, ItsEndGivesTheBudgetBack) {
  net::MemoryBudget memory(4 * kFree);
  {
    Reply reply(16 * kFree, &memory);
    ASSERT_TRUE(reply.Append(std::string(2 * kFree, 'x')));
    EXPECT_GT(memory.used(), 0u);
  }
  EXPECT_EQ(memory.used(), 0u);
}

}  // namespace
}  // namespace yamanote
