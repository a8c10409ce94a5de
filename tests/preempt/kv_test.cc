// kv_test.cc - apps/kv while its requests are preempted all the time.
//
// apps/kv/README.md says where they may be. A task that were preempted with a
// shard's lock held would let the others spin: with one core for ever.

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <random>
#include <span>
#include <string>

#include "apps/kv/service.h"
#include "tests/preempt/storm.h"
#include "worker/engine.h"
#include "yamanote/preempt.h"

namespace yamanote::kv {
namespace {

using tests::Phase;
using tests::RunStorm;
using namespace std::chrono_literals;

constexpr unsigned kTasks = 8;
constexpr unsigned kKeys = 40;

class KvPreemptTest : public testing::TestWithParam<unsigned> {
 protected:
  // Nearly every probe preempts.
  static Phase Dense() {
    return {.cores = GetParam(),
            .tasks = kTasks,
            .most_probes_between = 2,
            .preemptions = 40'000};
  }
};

INSTANTIATE_TEST_SUITE_P(Cores, KvPreemptTest, testing::Values(1, 2));

// One letter, repeated; short, or long enough to be copied without the lock.
std::string MakeValue(std::mt19937& random) {
  const size_t size =
      random() % 3 == 0 ? 2000 + random() % 6000 : random() % 300;
  return std::string(size, static_cast<char>('a' + random() % 26));
}

std::string Text(const Value& value) {
  std::string text;
  value.ForEachPiece([&](Bytes piece) {
    text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return text;
}

bool IsWhole(const Value& value) {
  const std::string text = Text(value);
  return text.size() == value.info.value_bytes &&
         text.find_first_not_of(text.substr(0, 1)) == std::string::npos;
}

Bytes AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST_P(KvPreemptTest, ValuesAreNeverTornAndNoBlockIsLost) {
  // Little memory, so that eviction meets pinned readers.
  const auto store = Store::Create({.memory_limit = size_t{1} << 20,
                                    .max_value_bytes = 10'000,
                                    .shards = 2,
                                    .hash_seed = 1})
                         .value();
  const tests::Outcome outcome =
      RunStorm(Dense(), [&](unsigned task, unsigned round) {
        std::mt19937 random(task << 20 | round);
        const std::string name = "key:" + std::to_string(random() % 300);
        const Key key = store->MakeKey(name);
        const Seconds now = 10 + round / 1000;
        switch (random() % 8) {
          case 0:
          case 1:
          case 2:
            store->Put(key, AsBytes(MakeValue(random)), now,
                       {.expires = random() % 3 == 0 ? now + 1 : 0});
            return true;
          case 3:
            store->Delete(key, now, {.mark_stale = random() % 2 == 0});
            return true;
          case 4:
            if (random() % 100 == 0) store->Flush();
            return store->Stats().bytes <= size_t{1} << 20;
          default: {
            Value value;
            return !store->Get(key, now, {}, value) || IsWhole(value);
          }
        }
      });
  EXPECT_EQ(outcome.wrong, 0U) << "of " << outcome.rounds << " requests";
  EXPECT_GE(outcome.preemptions, Dense().preemptions);
  // Nothing is pinned or lost: without items no block is in use.
  for (int i = 0; i < 300; ++i) {
    const std::string name = "key:" + std::to_string(i);
    store->Delete(store->MakeKey(name), 1'000'000, {});
  }
  EXPECT_EQ(store->Stats().items, 0U);
  EXPECT_EQ(store->Stats().bytes, 0U);
}

TEST_P(KvPreemptTest, IncrementsCasAndAppendsLoseNothing) {
  const auto store = Store::Create({.hash_seed = 1}).value();
  const Key counter = store->MakeKey("counter");
  const Key guarded = store->MakeKey("guarded");
  const Key log = store->MakeKey("log");
  for (const Key& key : {counter, guarded})
    store->Put(key, AsBytes("0"), 10, {});
  store->Put(log, {}, 10, {});
  std::atomic<uint64_t> swapped{0};
  std::atomic<uint64_t> appended{0};
  const std::string word = "0123456789";
  // Long, and the first of each eight creates its item: others append meanwhile.
  const std::string line(2000, 'x');
  const tests::Outcome outcome = RunStorm(Dense(), [&](unsigned task,
                                                       unsigned) {
    bool right = store->Arithmetic(counter, 10, {}).outcome == Outcome::kDone;
    Value value;
    right = right && store->Get(guarded, 10, {}, value);
    const std::string next = std::to_string(std::stoull(Text(value)) + 1);
    if (store->Put(guarded, AsBytes(next), 10, {.compare_cas = value.info.cas})
            .outcome == Outcome::kDone) {
      ++swapped;
    }
    // Beyond 1 KiB it is copied without the lock, while others append.
    if (const uint64_t number = appended.fetch_add(1); number < 600) {
      const StoreMode mode =
          task % 2 == 0 ? StoreMode::kAppend : StoreMode::kPrepend;
      right =
          right && store->Put(log, AsBytes(word), 10, {.mode = mode}).outcome ==
                       Outcome::kDone;
      const std::string name = "created:" + std::to_string(number / kTasks);
      right = right && store->Put(store->MakeKey(name), AsBytes(line), 10,
                                  {.mode = mode, .vivify = kNeverExpires})
                               .outcome == Outcome::kDone;
    }
    return right;
  });
  EXPECT_EQ(outcome.wrong, 0U) << "of " << outcome.rounds << " requests";
  EXPECT_EQ(store->Arithmetic(counter, 10, {.delta = 0}).number,
            outcome.rounds);
  EXPECT_EQ(store->Arithmetic(guarded, 10, {.delta = 0}).number, swapped);
  Value value;
  ASSERT_TRUE(store->Get(log, 10, {}, value));
  const std::string text = Text(value);
  const uint64_t count = std::min<uint64_t>(appended, 600);
  ASSERT_EQ(text.size(), count * word.size());
  for (size_t at = 0; at < text.size(); at += word.size())
    ASSERT_EQ(text.substr(at, word.size()), word);
  ASSERT_GE(count, 2 * kTasks);
  for (unsigned i = 0; i < count / kTasks; ++i) {
    const std::string name = "created:" + std::to_string(i);
    ASSERT_TRUE(store->Get(store->MakeKey(name), 10, {}, value));
    EXPECT_EQ(value.info.value_bytes, kTasks * line.size()) << name;
  }
}

// Long values in half of a shard: of those who read and write them, only as many
// are in the way of what else is stored as there are cores.
TEST_P(KvPreemptTest, ReadersAndWritersOfLongValuesLeaveRoomForOthers) {
  const auto store = Store::Create({.memory_limit = size_t{1} << 20,
                                    .max_value_bytes = 100'000,
                                    .shards = 1,
                                    .hash_seed = 1})
                         .value();
  const std::string large(100'000, 'x');
  Phase phase = Dense();
  phase.tasks = 16;  // Each may be in the middle of a tenth of the shard.
  phase.most_probes_between = 64;
  phase.preemptions = 1000;  // Few: most of the time there are none.
  const tests::Outcome outcome = RunStorm(phase, [&](unsigned task,
                                                     unsigned round) {
    const std::string name = "large:" + std::to_string((task + round) % 16);
    const Key key = store->MakeKey(name);
    if (round % 3 == 0) {
      const Key small = store->MakeKey("small");
      return store->Put(small, AsBytes("v"), 10, {}).outcome == Outcome::kDone;
    }
    if (round % 3 == 1)
      return store->Put(key, AsBytes(large), 10, {}).outcome == Outcome::kDone;
    Value value;
    if (!store->Get(key, 10, {}, value)) return true;
    value.ForEachPiece([](Bytes) { Probe(); });
    return IsWhole(value);
  });
  EXPECT_EQ(outcome.wrong, 0U) << "of " << outcome.rounds << " requests";
  EXPECT_EQ(store->Stats().counts.store_no_memory, 0U);
}

// Each task has keys of its own and knows every byte of every answer.
TEST_P(KvPreemptTest, AnswersAreWholeAndTheTasksOwn) {
  const auto service = KvService::Create({}).value();
  const auto send = [&](std::string_view request) {
    Reply reply(size_t{1} << 20);
    service->Handle({.bytes = AsBytes(request), .transport = Transport::kTcp},
                    reply);
    return std::string(net::memcached::AsText(reply.bytes()));
  };
  const tests::Outcome outcome =
      RunStorm(Dense(), [&](unsigned task, unsigned round) {
        std::mt19937 random(task << 20 | round);
        std::string get = "get";
        std::string expected;
        bool right = true;
        for (unsigned i = 0; i < kKeys; ++i) {
          const std::string key =
              "t" + std::to_string(task) + ":" + std::to_string(i);
          const std::string value = MakeValue(random);
          std::string data = std::to_string(value.size());
          data.append("\r\n").append(value).append("\r\n");
          std::string set = "set ";
          set.append(key).append(" 7 0 ").append(data);
          right = right && send(set) == "STORED\r\n";
          get.append(" ").append(key);
          expected.append("VALUE ").append(key).append(" 7 ").append(data);
        }
        return right && send(get + "\r\n") == expected + "END\r\n" &&
               send("incr t" + std::to_string(task) + ":none 1\r\n") ==
                   "NOT_FOUND\r\n";
      });
  EXPECT_EQ(outcome.wrong, 0U) << "of " << outcome.rounds << " rounds";
  EXPECT_EQ(service->store().Stats().items, kTasks * kKeys);
}

// Asked while it holds the lock, a task gives way when it has given that back.
TEST(KvGuardTest, PreemptionWaitsForTheLock) {
  RuntimeOptions options;
  options.cores = 1;
  options.pin = false;
  options.scheduling = FindPreset("tq").value();
  const auto runtime = Runtime::Create(std::move(options)).value();
  Shard shard;
  std::atomic<bool> other_ran{false};
  bool ran_meanwhile = true;
  bool ran_afterwards = false;
  runtime->Run([&] {
    Thread other([&] { other_ran = true; });
    {
      const ShardGuard guard(shard);
      preempt::Ask(
          preempt::OwnState(),
          {.progress = runtime->impl().worker(0).reschedules(), .ran = 1h});
      Probe();
      ran_meanwhile = other_ran;
    }
    ran_afterwards = other_ran;
    other.join();
  });
  EXPECT_FALSE(ran_meanwhile);
  EXPECT_TRUE(ran_afterwards);
  EXPECT_EQ(runtime->stats().preemptions, 1U);
}

}  // namespace
}  // namespace yamanote::kv
