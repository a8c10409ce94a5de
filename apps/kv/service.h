// service.h - answers memcached requests from a Store.
//
// Service::Handle() takes one framed request apart again and runs it: one
// command over TCP, one or more in a datagram over UDP. A get of many keys
// fetches the memory of several keys at once. It gives way at probes, and offers
// the scheduler a voluntary point after each few keys where there are none.
//
// Answers and errors are memcached 1.6's, text and all, so that its clients
// can't tell the difference. On purpose different: numbers must be plain
// decimal (no sign, no blanks), client flags fit in 32 bits, and me tells the
// seconds that an item still has.

#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/kv/store.h"
#include "apps/kv/store_clock.h"
#include "base/cpu.h"
#include "net/memcached.h"
#include "net/memcached_meta.h"
#include "yamanote/service.h"
#include "yamanote/thread.h"
#include "yamanote/time.h"

namespace yamanote::kv {

struct KvOptions {
  StoreOptions store;
  // The system's clocks unless a test owns the time.
  std::function<Instant()> now = [] { return Clock::now(); };
  StoreClock clock = StoreClock::System();
  // Called between the keys of long requests; yamanote::CheckPreempt when
  // served.
  void (*check_preempt)() = nullptr;
  // Lines that only the server knows (connections, threads, its address), as
  // name and value, for `stats` and `stats settings`. May be empty.
  std::function<std::vector<std::pair<std::string, std::string>>()>
      server_stats;
  std::function<std::vector<std::pair<std::string, std::string>>()>
      server_settings;
};

class KvService final : public Service {
 public:
  // Fails as Store::Create() does.
  static Result<std::unique_ptr<KvService>> Create(KvOptions options);

  Result<void> Init(unsigned cores) override;
  void Handle(const Request& request, Reply& reply) override;

  Store& store() { return *store_; }

  // Whether it was compiled with probes.
  static bool HasProbes();

 private:
  using Verb = net::memcached::Verb;
  using Tokens = net::memcached::Tokens;

  // One request while it runs.
  struct Call {
    Reply& reply;
    Seconds now;
    bool fits = true;  // Everything so far fitted in the reply.

    void Say(std::string_view text) { fits = fits && reply.Append(text); }
    void Say(Bytes bytes) { fits = fits && reply.Append(bytes); }
    void SayNumber(uint64_t number);
  };

  // Counters that no shard has; one set per core so that cores do not meet.
  struct alignas(base::kNoSharing) CoreCounters {
    std::atomic<uint64_t> flushes{0};
    std::atomic<uint64_t> meta{0};
    std::atomic<uint64_t> bytes_read{0};
    std::atomic<uint64_t> bytes_written{0};
  };

  KvService(KvOptions options, std::unique_ptr<Store> store);

  void HandleDatagram(const Request& request, Reply& reply);
  // Runs one command: its line without the end, and its data block with it.
  void Run(std::string_view line, std::string_view data, bool has_data,
           Call& call);
  void RunClassic(Verb verb, Tokens tokens, std::string_view line, Call& call);

  void Get(Verb verb, Tokens tokens, Call& call);
  void SayItem(const Key& key, bool with_cas, const Value& value, Call& call);
  void Put(Verb verb, Tokens tokens, std::string_view data, bool has_data,
           Call& call);
  void Delete(Tokens tokens, Call& call);
  void Arithmetic(Verb verb, Tokens tokens, Call& call);
  void Touch(Tokens tokens, Call& call);
  void FlushAll(Tokens tokens, Call& call);
  void Verbosity(Tokens tokens, Call& call);

  // meta_commands.cc
  void RunMeta(Verb verb, Tokens tokens, std::string_view data, bool has_data,
               Call& call);
  void MetaGet(const net::memcached::MetaCommand& command, const Key& key,
               Call& call);
  void MetaSet(const net::memcached::MetaCommand& command, const Key& key,
               std::string_view data, bool has_data, Call& call);
  void MetaDelete(const net::memcached::MetaCommand& command, const Key& key,
                  Call& call);
  void MetaArithmetic(const net::memcached::MetaCommand& command,
                      const Key& key, Call& call);
  void MetaDebug(const net::memcached::MetaCommand& command, const Key& key,
                 Call& call);
  static void SayEchoedFlag(std::string_view flag, bool binary, const Key& key,
                            Call& call);
  static void SayExpiry(Seconds expires, Call& call);
  static void SayItemFlag(std::string_view flag, const Key& key,
                          const ItemInfo& info, Call& call);
  std::optional<Seconds> MetaExpiry(std::optional<int64_t> exptime,
                                    Seconds now) const;

  // stats.cc
  template <typename Value>
  static void SayStat(std::string_view name, const Value& value, Call& call);
  void Stats(Tokens tokens, Call& call);
  void SayGeneralStats(Call& call);
  void SaySettings(Call& call);
  void SayItemStats(Call& call);
  void SaySlabStats(Call& call);

  CoreCounters& Counters();
  uint64_t Sum(std::atomic<uint64_t> CoreCounters::* counter) const;

  const KvOptions options_;
  const std::unique_ptr<Store> store_;
  const Seconds started_;
  std::array<CoreCounters, 64> counters_;
};

}  // namespace yamanote::kv
