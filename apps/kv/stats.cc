// stats.cc - the stats command: general, settings, items, slabs, sizes, reset.
//
// Names are memcached's where the meaning is the same, so that its tools can
// read them; what has no counterpart here is left out, not invented.

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include "apps/kv/service.h"

namespace yamanote::kv {
namespace {

std::string Seconds6(const timeval& time) {
  return fmt::format("{}.{:06}", time.tv_sec, time.tv_usec);
}

}  // namespace

template <typename Value>
void KvService::SayStat(std::string_view name, const Value& value, Call& call) {
  call.Say(fmt::format("STAT {} {}\r\n", name, value));
}

void KvService::Stats(Tokens tokens, Call& call) {
  const std::string_view what = tokens.Next();
  if (what.empty()) {
    SayGeneralStats(call);
  } else if (what == "settings") {
    SaySettings(call);
  } else if (what == "items") {
    SayItemStats(call);
  } else if (what == "slabs") {
    SaySlabStats(call);
  } else if (what == "sizes") {
    call.Say("STAT sizes_status disabled\r\n");
  } else if (what == "reset") {
    store_->ResetStats();
    for (CoreCounters& each : counters_) {
      // Relaxed: pairs with Sum(); a count that is added meanwhile may be lost.
      each.flushes.store(0, std::memory_order_relaxed);
      each.meta.store(0, std::memory_order_relaxed);
      each.bytes_read.store(0, std::memory_order_relaxed);
      each.bytes_written.store(0, std::memory_order_relaxed);
    }
    return call.Say("RESET\r\n");
  } else if (what == "detail") {
    return call.Say("CLIENT_ERROR usage: stats detail on|off|dump\r\n");
  } else if (what == "cachedump") {
    return call.Say("CLIENT_ERROR stats cachedump not allowed\r\n");
  } else {
    return call.Say("ERROR\r\n");
  }
  call.Say("END\r\n");
}

void KvService::SayGeneralStats(Call& call) {
  const StoreStats stats = store_->Stats();
  const ShardStats& counts = stats.counts;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto say = [&](std::string_view name, const auto& value) {
    SayStat(name, value, call);
  };
  say("pid", getpid());
  say("uptime", call.now - started_);
  say("time", options_.clock.UnixTime(call.now));
  say("version", "1.6.18-yamanote");
  say("pointer_size", 8 * sizeof(void*));
  say("rusage_user", Seconds6(usage.ru_utime));
  say("rusage_system", Seconds6(usage.ru_stime));
  if (options_.server_stats) {
    for (const auto& [name, value] : options_.server_stats()) say(name, value);
  }
  say("cmd_get", counts.get_hits + counts.get_misses);
  say("cmd_set", counts.cmd_set);
  say("cmd_flush", Sum(&CoreCounters::flushes));
  say("cmd_touch", counts.touch_hits + counts.touch_misses);
  say("cmd_meta", Sum(&CoreCounters::meta));
  say("get_hits", counts.get_hits);
  say("get_misses", counts.get_misses);
  say("get_expired", counts.get_expired);
  say("get_flushed", counts.get_flushed);
  say("delete_misses", counts.delete_misses);
  say("delete_hits", counts.delete_hits);
  say("incr_misses", counts.incr_misses);
  say("incr_hits", counts.incr_hits);
  say("decr_misses", counts.decr_misses);
  say("decr_hits", counts.decr_hits);
  say("cas_misses", counts.cas_misses);
  say("cas_hits", counts.cas_hits);
  say("cas_badval", counts.cas_badval);
  say("touch_hits", counts.touch_hits);
  say("touch_misses", counts.touch_misses);
  say("store_too_large", counts.store_too_large);
  say("store_no_memory", counts.store_no_memory);
  say("bytes_read", Sum(&CoreCounters::bytes_read));
  say("bytes_written", Sum(&CoreCounters::bytes_written));
  say("limit_maxbytes", store_->options().memory_limit);
  say("hash_bytes", stats.hash_bytes);
  say("shards", store_->options().shards);
  say("bytes", stats.bytes);
  say("curr_items", stats.items);
  say("total_items", counts.total_items);
  say("expired_unfetched", counts.expired_unfetched);
  say("evicted_unfetched", counts.evicted_unfetched);
  say("evictions", counts.evictions);
  say("reclaimed", counts.reclaimed);
}

void KvService::SaySettings(Call& call) {
  const StoreOptions& store = store_->options();
  SayStat("maxbytes", store.memory_limit, call);
  SayStat("item_size_max", store.max_value_bytes, call);
  SayStat("evictions", "on", call);
  SayStat("cas_enabled", "yes", call);
  SayStat("hash_algorithm", "xxh3", call);
  SayStat("shards", store.shards, call);
  SayStat("block_size", kBlockBytes, call);
  SayStat("binding_protocol", "ascii", call);
  if (options_.server_settings) {
    for (const auto& [name, value] : options_.server_settings())
      SayStat(name, value, call);
  }
}

// Memory has one size of block, so there is one class of items: number 1.
void KvService::SayItemStats(Call& call) {
  const StoreStats stats = store_->Stats();
  if (stats.items == 0) return;
  SayStat("items:1:number", stats.items, call);
  SayStat("items:1:mem_requested", stats.bytes, call);
  SayStat("items:1:evicted", stats.counts.evictions, call);
  SayStat("items:1:evicted_unfetched", stats.counts.evicted_unfetched, call);
  SayStat("items:1:expired_unfetched", stats.counts.expired_unfetched, call);
  SayStat("items:1:outofmemory", stats.counts.store_no_memory, call);
  SayStat("items:1:reclaimed", stats.counts.reclaimed, call);
}

void KvService::SaySlabStats(Call& call) {
  const StoreStats stats = store_->Stats();
  const size_t used = stats.bytes / kBlockBytes;
  SayStat("1:chunk_size", kBlockBytes, call);
  SayStat("1:chunks_per_page", stats.blocks / store_->options().shards, call);
  SayStat("1:total_pages", store_->options().shards, call);
  SayStat("1:total_chunks", stats.blocks, call);
  SayStat("1:used_chunks", used, call);
  SayStat("1:free_chunks", stats.blocks - used, call);
  SayStat("1:get_hits", stats.counts.get_hits, call);
  SayStat("1:cmd_set", stats.counts.cmd_set, call);
  SayStat("1:delete_hits", stats.counts.delete_hits, call);
  SayStat("1:incr_hits", stats.counts.incr_hits, call);
  SayStat("1:decr_hits", stats.counts.decr_hits, call);
  SayStat("1:cas_hits", stats.counts.cas_hits, call);
  SayStat("1:cas_badval", stats.counts.cas_badval, call);
  SayStat("1:touch_hits", stats.counts.touch_hits, call);
  SayStat("active_slabs", 1, call);
  SayStat("total_malloced", store_->options().memory_limit, call);
}

}  // namespace yamanote::kv
