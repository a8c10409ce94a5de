// room_test.cc - what max_bytes leaves to the rest.

#include "apps/rocksdb/room.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "apps/rocksdb/private_directory.h"

namespace yamanote::rocks {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

TEST(RoomTest, WriteBuffersTakeAnEighthAtMost) {
  EXPECT_EQ(WriteBufferFor(4096 * kMiB, 64 * kMiB), 64 * kMiB);
  EXPECT_EQ(WriteBufferFor(2048 * kMiB, 64 * kMiB), 64 * kMiB);
  EXPECT_EQ(WriteBufferFor(64 * kMiB, 64 * kMiB), 2 * kMiB);
  EXPECT_EQ(WriteBufferFor(64 * kMiB, kMiB), kMiB);
  // Never none.
  EXPECT_EQ(WriteBufferFor(0, 64 * kMiB), 64u << 10);
}

TEST(RoomTest, TablesLeaveRoomForACompactionAndTheBuffers) {
  // Half of what one set of buffers leaves, less another set:
  // (2,560 - 256) / 2 - 256 and (64 - 8) / 2 - 8.
  EXPECT_EQ(MostBytesFor(2560 * kMiB, 64 * kMiB), 896 * kMiB);
  EXPECT_EQ(MostBytesFor(64 * kMiB, 2 * kMiB), 20 * kMiB);
  // A compaction takes 20 x 64 + 25 x 64 MiB at most, so of 100 GiB nearly all.
  EXPECT_EQ(MostBytesFor(102'400 * kMiB, 64 * kMiB),
            (102'400 - 256 - 45 * 64 - 256) * kMiB);
  EXPECT_EQ(MostBytesFor(256 * kMiB, 64 * kMiB), 0u);
  EXPECT_EQ(MostBytesFor(700 * kMiB, 64 * kMiB), 0u);
  EXPECT_EQ(MostBytesFor(0, 64 << 10), 0u);
}

// What the database has itself is room for it.
TEST(RoomTest, OwnFilesCount) {
  const auto root = PrivateDirectory::Create("/dev/shm");
  ASSERT_TRUE(root) << root.error().message;
  const std::string path = (*root)->path();
  // A hole: as many bytes, none of them taken, so that others' do not matter.
  std::ofstream(path + "/1.sst") << "x";
  std::filesystem::resize_file(path + "/1.sst", uint64_t{1} << 50);
  const auto room = RoomIn(path);
  ASSERT_TRUE(room) << room.error().message;
  EXPECT_GE(*room, uint64_t{1} << 50);
  EXPECT_LT(*room, uint64_t{1} << 51);

  const auto none = RoomIn(path + "/none");
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message, testing::HasSubstr("/none is unknown: No"));
}

}  // namespace
}  // namespace yamanote::rocks
