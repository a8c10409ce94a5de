// service.h - answers the requests of Redis's clients from RocksDB.
//
// The commands of a store: GET, MGET, EXISTS, SET (PUT), DEL (DELETE, UNLINK),
// RANGE start count (keys and values in order: the scan of the scheduling
// papers) and SCAN cursor [COUNT n] (keys, as redis-cli --scan asks for them).
// And what clients say when they connect: PING, ECHO, QUIT, SELECT, HELLO,
// CLIENT, COMMAND, CONFIG GET, INFO, DBSIZE.
//
// One request is one Handle(). RANGE, SCAN and MGET offer the scheduler a
// voluntary point after each key, so a slice can end inside them; what is held
// then is an iterator, which database.h says why it may be.
//
// On purpose different from Redis: SET has no options, keys have at most
// kMaxKeyBytes, DBSIZE is an estimate, DEL and MGET of several keys are not
// atomic, and a cursor is forgotten after Cursors::kCapacity later ones.

#pragma once

#include <sched.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/rocksdb/cursors.h"
#include "apps/rocksdb/database.h"
#include "base/cpu.h"
#include "net/resp.h"
#include "yamanote/service.h"

namespace yamanote::rocks {

inline constexpr size_t kMaxKeyBytes = 1024;

struct RocksdbOptions {
  DatabaseOptions database;
  size_t max_value_bytes = size_t{1} << 20;
  // Keys that one RANGE or SCAN may ask for.
  uint64_t max_scan_keys = 100'000;
  // Called between the keys of long requests; yamanote::CheckPreempt when
  // served.
  void (*check_preempt)() = nullptr;
  // What only the server knows, as name and value, for INFO. May be empty.
  std::function<std::vector<std::pair<std::string, std::string>>()> server_info;
};

class RocksdbService final : public Service {
 public:
  // Remembers where the calling thread may run: RocksDB's threads may, too.
  explicit RocksdbService(RocksdbOptions options);

  // Opens the database, as Database::Open().
  Result<void> Init(unsigned cores) override;
  void Handle(const Request& request, Reply& reply) override;

  // After Init().
  Database& database() { return *database_; }
  // As Database::Discard(); at any time.
  void Discard();

  // Whether it was compiled with probes.
  static bool HasProbes();

 private:
  using Verb = net::resp::Verb;
  using Words = net::resp::Words;

  // One request while it runs. What it says is RESP2.
  struct Call {
    Reply& reply;
    bool fits = true;  // Everything so far fitted in the reply.

    void Say(std::string_view text) { fits = fits && reply.Append(text); }
    void SayLength(char kind, int64_t length);  // "$5\r\n", "*2\r\n", ":1\r\n"
    void SayBulk(std::string_view text);
    void SayNull() { Say("$-1\r\n"); }
    void SayNumber(int64_t number) { SayLength(':', number); }
    // Puts `head` in place of the first `bytes` bytes that were said. The rest is
    // copied under the reply's bound on memory.
    void SayFirst(size_t bytes, std::string_view head);
    // "-ERR " and `words`, which get no end of line of their own.
    void SayError(std::string_view words);
  };

  // One set per CPU, so that cores do not meet.
  struct alignas(base::kNoSharing) Counters {
    std::atomic<uint64_t> hits{0};
    std::atomic<uint64_t> misses{0};
    std::atomic<uint64_t> puts{0};
    std::atomic<uint64_t> deletes{0};
    std::atomic<uint64_t> scans{0};
    std::atomic<uint64_t> scanned_keys{0};
    std::atomic<uint64_t> errors{0};  // RocksDB's.
  };

  void HandleDatagram(const Request& request, Reply& reply);
  void Run(std::string_view frame, Call& call);
  void RunStore(Verb verb, std::string_view name, Words& words, Call& call);

  // Whether a value or null was said; otherwise an error took the place of all
  // that was said before.
  bool Get(std::string_view key, Call& call);
  void Mget(Words& words, Call& call);
  void Exists(Words& words, Call& call);
  void Set(Words& words, Call& call);
  void Delete(Words& words, Call& call);
  void Range(Words& words, Call& call);
  void Scan(Words& words, Call& call);
  bool ReadCount(std::string_view word, uint64_t& count, Call& call) const;

  // session.cc: what clients say beside it.
  void RunSession(Verb verb, std::string_view name, Words& words, Call& call);
  void Client(Words& words, Call& call);
  void Config(Words& words, Call& call);
  void Echo(Words& words, Call& call);
  void Hello(Words& words, Call& call);
  void Info(Call& call);

  // Whether it is a key; otherwise the request was answered.
  static bool CheckKey(const std::optional<std::string_view>& key, Call& call);
  void SayStatus(const ::rocksdb::Status& status, Call& call);
  void CheckPreempt() const {
    if (options_.check_preempt != nullptr) options_.check_preempt();
  }
  Counters& Count();
  uint64_t Sum(std::atomic<uint64_t> Counters::* counter) const;

  const RocksdbOptions options_;
  const Instant started_;
  cpu_set_t cpus_;
  std::unique_ptr<Database> database_;
  std::atomic<Database*> opened_{nullptr};  // For Discard().
  Cursors cursors_;
  std::array<Counters, 64> counters_;
};

}  // namespace yamanote::rocks
