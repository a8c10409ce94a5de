// walk_test.cc - deleted keys neither hold a walk up nor lead it astray.

#include "apps/rocksdb/walk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <stdexcept>
#include <utility>
#include <vector>

#include "apps/rocksdb/database.h"
#include "apps/rocksdb/test_server.h"
#include "base/random.h"

namespace yamanote::rocks {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

class WalkTest : public testing::Test {
 protected:
  WalkTest() {
    gave_way = 0;
    on_give_way = [] {};
  }

  static void GiveWay() {
    ++gave_way;
    on_give_way();
  }

  // Small write buffers: what is deleted lies in several tables and memtables.
  static std::unique_ptr<Database> Open(uint64_t keys, uint64_t write_buffer) {
    DatabaseOptions options;
    options.keys = keys;
    options.value_bytes = 3;
    options.write_buffer_bytes = write_buffer;
    auto database = Database::Open(options);
    if (!database) throw std::runtime_error(database.error().message);
    return std::move(*database);
  }

  // Writes are refused now and then while a memtable is flushed.
  static void Put(Database& database, std::string_view key,
                  std::string_view value) {
    while (database.Put(key, value).IsIncomplete()) {
    }
  }
  static void Delete(Database& database, std::string_view key) {
    while (database.Delete(key).IsIncomplete()) {
    }
  }

  static Pairs All(Walk& walk, std::string_view start) {
    Pairs out;
    for (walk.Seek(start); walk.Valid(); walk.Next())
      out.emplace_back(walk.key(), walk.value());
    EXPECT_TRUE(walk.status().ok()) << walk.status().ToString();
    return out;
  }

  static inline uint64_t gave_way = 0;
  static inline std::function<void()> on_give_way;
};

TEST_F(WalkTest, GivesWayAmongDeletedKeys) {
  const auto database = Open(10'000, 64 << 20);
  Put(*database, "z", "last");
  for (uint64_t i = 0; i < 10'000; ++i) Delete(*database, KeyName(i));
  Walk walk = database->NewWalk(&GiveWay);
  EXPECT_EQ(All(walk, ""), (Pairs{{"z", "last"}}));
  // Each is a deletion and what it deleted.
  EXPECT_GE(gave_way, 2 * 10'000 / (Walk::kMostSkipped + 1));
  EXPECT_LE(gave_way, 10'000u);

  // From a key that is there over those that aren't.
  gave_way = 0;
  Put(*database, KeyName(0), "new");
  Walk next = database->NewWalk(&GiveWay);
  next.Seek(KeyName(0));
  EXPECT_EQ(next.value(), "new");
  EXPECT_EQ(gave_way, 0u);
  next.Next();
  EXPECT_EQ(next.key(), "z");
  EXPECT_GE(gave_way, 2 * 10'000 / (Walk::kMostSkipped + 1));
}

TEST_F(WalkTest, NobodyNeedsToBeGivenWayTo) {
  const auto database = Open(1000, 64 << 20);
  for (uint64_t i = 0; i < 1000; ++i) Delete(*database, KeyName(i));
  Walk walk = database->NewWalk(nullptr);
  EXPECT_EQ(All(walk, ""), Pairs{});
}

// Whatever is written, deleted and written again, and while it goes on.
TEST_F(WalkTest, ShowsTheStoreAsItWas) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(seed);
    base::Random random(seed);
    const auto database = Open(0, 64 << 10);
    std::map<std::string, std::string> expected;
    for (int round = 0; round < 30; ++round) {
      // A stretch of keys, some of them many times.
      const uint64_t first = random.Below(3000);
      const uint64_t length = 1 + random.Below(700);
      const bool deletes = random.Below(2) == 0;
      for (uint64_t i = first; i < first + length; ++i) {
        const std::string key = KeyName(i);
        for (uint64_t n = random.Below(8) == 0 ? 30 : 1; n > 0; --n) {
          const std::string value = std::to_string(random.Below(1000));
          Put(*database, key, value);
          expected[key] = value;
        }
        if (!deletes) continue;
        Delete(*database, key);
        expected.erase(key);
      }
    }
    // What is written meanwhile, before and behind, isn't shown.
    on_give_way = [&] {
      for (int i = 0; i < 40; ++i) {
        const std::string key = KeyName(random.Below(3700));
        if (random.Below(2) == 0) {
          Put(*database, key, "late");
        } else {
          Delete(*database, key);
        }
      }
    };
    const std::string start = KeyName(random.Below(200));
    Walk walk = database->NewWalk(&GiveWay);
    EXPECT_EQ(All(walk, start),
              Pairs(expected.lower_bound(start), expected.end()));
    on_give_way = [] {};
  }
  EXPECT_GT(gave_way, 0u);
}

// The longest keys, with newer versions than the walk's: each step comes past one.
TEST_F(WalkTest, MakesProgressAmongManyVersions) {
  const auto database = Open(0, 64 << 20);
  const auto key = [](uint64_t i) {
    return std::string(1000, 'k') + KeyName(i);
  };
  const auto write = [&](int versions) {
    for (uint64_t i = 0; i < 100; ++i) {
      for (int n = 0; n < versions; ++n) Put(*database, key(i), "v");
      Delete(*database, key(i));
    }
  };
  write(100);
  Walk walk = database->NewWalk(&GiveWay);
  write(100);
  EXPECT_EQ(All(walk, ""), Pairs{});
  // Those within a step: at least one key.
  EXPECT_GT(gave_way, 10u);
  EXPECT_LE(gave_way, 100u);
}

// The scheduler is asked between deleted keys, and nobody is told of writes.
TEST_F(WalkTest, RequestsGiveWayAmongDeletedKeys) {
  RocksdbOptions options = TestServer::Small(10'000);
  options.check_preempt = &GiveWay;
  TestServer server(std::move(options));
  for (uint64_t i = 0; i < 10'000; ++i) server.Ask({"DEL", KeyName(i)});
  for (const char* request : {"RANGE a 10\r\n", "SCAN 0\r\n"}) {
    gave_way = 0;
    const std::string answer = server.Send(request);
    EXPECT_EQ(answer, request[0] == 'R' ? "*0\r\n" : "*2\r\n$1\r\n0\r\n*0\r\n");
    EXPECT_GE(gave_way, 2 * 10'000 / (Walk::kMostSkipped + 1)) << request;
  }
}

}  // namespace
}  // namespace yamanote::rocks
