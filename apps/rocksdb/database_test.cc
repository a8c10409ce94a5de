// database_test.cc - what stays, what goes, what is refused.

#include "apps/rocksdb/database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace yamanote::rocks {
namespace {

namespace fs = std::filesystem;
using ::rocksdb::PinnableSlice;
using testing::HasSubstr;

// A directory for the test alone.
class DatabaseTest : public testing::Test {
 protected:
  DatabaseTest() {
    std::string path = testing::TempDir() + "/yamanote-test-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) std::abort();
    root_ = path;
  }
  ~DatabaseTest() override { fs::remove_all(root_); }

  DatabaseOptions Options(uint64_t keys = 10) const {
    DatabaseOptions options;
    options.memory_root = root_;
    options.keys = keys;
    options.value_bytes = 3;
    return options;
  }

  static std::string Read(const Database& database, std::string_view key) {
    PinnableSlice value;
    const auto status = database.Get(key, value);
    return status.ok() ? value.ToString() : status.ToString();
  }

  size_t Files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(root_), fs::directory_iterator()));
  }

  std::string root_;
};

TEST_F(DatabaseTest, IsFilledAndGoesWithItsDirectory) {
  {
    const auto database = Database::Open(Options());
    ASSERT_TRUE(database) << database.error().message;
    EXPECT_EQ(Read(**database, KeyName(9)), "vvv");
    EXPECT_THAT(Read(**database, KeyName(10)), HasSubstr("NotFound"));
    EXPECT_EQ((*database)->EstimatedKeys(), 10u);
    EXPECT_GT((*database)->TableBytes(), 0u);
    EXPECT_EQ(Files(), 1u);
  }
  EXPECT_EQ(Files(), 0u);
}

TEST_F(DatabaseTest, DataInANamedDirectoryStays) {
  DatabaseOptions options = Options();
  options.path = root_ + "/data";
  {
    const auto database = Database::Open(options);
    ASSERT_TRUE(database) << database.error().message;
    EXPECT_TRUE((*database)->Put("mine", "1").ok());
    EXPECT_TRUE((*database)->Delete(KeyName(3)).ok());
  }
  const auto again = Database::Open(options);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(Read(**again, "mine"), "1");
  EXPECT_EQ(Read(**again, KeyName(4)), "vvv");
  // What has data is not filled again.
  EXPECT_THAT(Read(**again, KeyName(3)), HasSubstr("NotFound"));
}

TEST_F(DatabaseTest, WhatAKilledProcessLeftIsRemovedAndNothingElse) {
  const auto first = Database::Open(Options());
  ASSERT_TRUE(first);
  const std::string left = root_ + "/yamanote-rocksdb-abcdef";
  fs::create_directory(left);
  std::ofstream(left + "/000001.sst") << "x";
  fs::create_directory(root_ + "/other");
  const auto second = Database::Open(Options());
  ASSERT_TRUE(second);
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(root_ + "/other"));
  EXPECT_TRUE(fs::exists((*first)->path()));
  (*second)->Discard();
  EXPECT_FALSE(fs::exists((*second)->path()));
}

TEST_F(DatabaseTest, WhatCantBeOpenedNamesTheOptionAndTheRemedy) {
  DatabaseOptions options = Options();
  options.path = root_ + "/file";
  std::ofstream(options.path) << "x";
  const auto file = Database::Open(options);
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message,
              testing::AllOf(HasSubstr("rocksdb.path = \"" + options.path),
                             HasSubstr("--rocksdb-path")));
  options.path = root_ + "/data";
  const auto one = Database::Open(options);
  ASSERT_TRUE(one);
  const auto two = Database::Open(options);
  ASSERT_FALSE(two);
  EXPECT_THAT(two.error().message, HasSubstr("no other server uses"));

  options = Options();
  options.memory_root = root_ + "/none";
  const auto none = Database::Open(options);
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message,
              testing::AllOf(HasSubstr("rocksdb.path is not set"),
                             HasSubstr("No such file or directory"),
                             HasSubstr("--rocksdb-path")));
}

TEST_F(DatabaseTest, FillingCanBeInterrupted) {
  DatabaseOptions options = Options(1'000'000);
  options.cancelled = [] { return true; };
  const auto database = Database::Open(options);
  ASSERT_FALSE(database);
  EXPECT_EQ(database.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(Files(), 0u);
}

TEST_F(DatabaseTest, MoreKeysThanFitAreRefused) {
  DatabaseOptions options = Options(1000);
  options.max_bytes = 1000 * 15 - 1;  // 12 bytes of key, 3 of value.
  const auto database = Database::Open(options);
  ASSERT_FALSE(database);
  EXPECT_EQ(database.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(database.error().message,
              testing::AllOf(HasSubstr("rocksdb.keys = 1000"),
                             HasSubstr("rocksdb.max_bytes = 14999"),
                             HasSubstr("999 keys at most")));
  options.max_bytes = 1000 * 15;
  EXPECT_TRUE(Database::Open(options));
}

// Long values are not gathered: a batch is copied a few times on its way.
TEST_F(DatabaseTest, KeysAreStoredInBatchesOfAMebibyte) {
  static int batches = 0;
  DatabaseOptions options = Options(16);
  options.value_bytes = 256 << 10;
  options.cancelled = [] { return ++batches > 1000; };
  ASSERT_TRUE(Database::Open(options));
  EXPECT_EQ(batches, 4);
}

TEST_F(DatabaseTest, WritesEndAtTheLimitAndReadsGoOn) {
  DatabaseOptions options = Options(1000);
  options.path = root_ + "/data";
  ASSERT_TRUE(Database::Open(options));
  options.max_bytes = 1;  // Less than there is: nothing is stored at the start.
  const auto database = Database::Open(options);
  ASSERT_TRUE(database);
  EXPECT_TRUE((*database)->Put("a", "1").IsMemoryLimit());
  EXPECT_EQ(Read(**database, KeyName(7)), "vvv");
  EXPECT_TRUE((*database)->Delete(KeyName(7)).ok());
}

// Found at the start, not by a write that fails and ends all others.
TEST_F(DatabaseTest, MoreThanThereIsRoomForIsRefusedOrLowered) {
  DatabaseOptions options = Options(10);
  options.max_bytes = uint64_t{1} << 62;
  options.without_room = DatabaseOptions::WithoutRoom::kRefuse;
  for (const std::string& path : {std::string(), root_ + "/data"}) {
    options.path = path;
    const auto refused = Database::Open(options);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(
        refused.error().message,
        testing::AllOf(HasSubstr("rocksdb.max_bytes = 4611686018427387904"),
                       HasSubstr("free in " + root_),
                       HasSubstr("lower rocksdb.max_bytes"),
                       HasSubstr("--rocksdb-path")));
  }
  options.without_room = DatabaseOptions::WithoutRoom::kLower;
  const auto lowered = Database::Open(options);
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_LT((*lowered)->max_bytes(), fs::space(root_).capacity);
  EXPECT_GT((*lowered)->max_bytes(), 0u);

  options = Options(uint64_t{1} << 55);
  options.max_bytes = uint64_t{1} << 62;
  const auto keys = Database::Open(options);
  ASSERT_FALSE(keys);
  EXPECT_THAT(
      keys.error().message,
      testing::AllOf(HasSubstr("rocksdb.keys = 36028797018963968"),
                     HasSubstr("has room for"), HasSubstr("make room there")));
}

TEST_F(DatabaseTest, WhatFitsIsLeftAlone) {
  DatabaseOptions options = Options(10);
  options.max_bytes = 1 << 20;
  options.without_room = DatabaseOptions::WithoutRoom::kRefuse;
  const auto database = Database::Open(options);
  ASSERT_TRUE(database) << database.error().message;
  EXPECT_EQ((*database)->max_bytes(), 1u << 20);
}

}  // namespace
}  // namespace yamanote::rocks
