// store_put.cc - everything that stores a value: put, append, arithmetic.
//
// A value of more than kShortCopy bytes is copied without the lock, into an
// item that nobody else knows yet; what was found before is then looked at
// again.

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>

#include "apps/kv/store.h"

namespace yamanote::kv {
namespace {

constexpr size_t kLargestNumber = 20;  // Digits of a 64-bit number.
// How often a long append starts again because somebody else changed the item
// meanwhile, before it copies with the lock held.
constexpr int kUnlockedTries = 8;

// Digits, then nothing but the spaces that a shrinking number leaves.
bool ParseStored(std::string_view text, uint64_t& number) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stop != text.data() &&
         std::all_of(stop, end, [](char c) { return c == ' '; });
}

bool Extends(StoreMode mode) {
  return mode == StoreMode::kAppend || mode == StoreMode::kPrepend;
}

// Whether `options` let a value take the place of `item`, which may be null.
Outcome Judge(const Item* item, const PutOptions& options) {
  const StoreMode mode = options.mode;
  const bool sets = mode == StoreMode::kSet || mode == StoreMode::kReplace;
  if (item == nullptr) {
    if (sets && options.compare_cas) return Outcome::kNotFound;
    if (mode == StoreMode::kReplace) return Outcome::kNotStored;
    if (Extends(mode) && !options.vivify) return Outcome::kNotStored;
    return Outcome::kDone;
  }
  if (mode == StoreMode::kAdd) return Outcome::kNotStored;
  if (!options.compare_cas || *options.compare_cas == item->cas)
    return Outcome::kDone;
  const bool outdated =
      sets && options.invalidate && *options.compare_cas < item->cas;
  return outdated ? Outcome::kDone : Outcome::kExists;
}

PutResult Count(Shard& shard, PutResult result, const PutOptions& options) {
  ShardStats& stats = shard.stats;
  ++stats.cmd_set;
  if (options.compare_cas) {
    if (result.outcome == Outcome::kDone) ++stats.cas_hits;
    if (result.outcome == Outcome::kExists) ++stats.cas_badval;
    if (result.outcome == Outcome::kNotFound) ++stats.cas_misses;
  }
  if (result.outcome == Outcome::kTooLarge) ++stats.store_too_large;
  if (result.outcome == Outcome::kNoMemory) ++stats.store_no_memory;
  return result;
}

// Writes the whole value of `from` into the value of `to`, from `offset` on.
void Copy(const BlockArena& arena, Item& from, Item& to, size_t offset) {
  size_t copied = 0;
  arena.ForEachPiece(from, from.key_bytes, from.value_bytes,
                     [&](const std::byte* piece, size_t size) {
                       arena.Write(to, to.key_bytes + offset + copied,
                                   Bytes(piece, size));
                       copied += size;
                     });
}

}  // namespace

PutResult Store::Put(const Key& key, Bytes data, Seconds now,
                     const PutOptions& options) {
  for (int i = 0; i < kUnlockedTries; ++i) {
    if (auto result = TryPut(key, data, now, options, Locking::kBriefly))
      return *result;
  }
  return *TryPut(key, data, now, options, Locking::kThroughout);
}

// One attempt; nothing if the item that it extends, or was to create, is another
// one after the copying without the lock.
std::optional<PutResult> Store::TryPut(const Key& key, Bytes data, Seconds now,
                                       const PutOptions& options,
                                       Locking locking) {
  Shard& shard = ShardOf(key);
  ShardGuard guard(shard);
  shard.Advance(now);
  Item* const old = shard.Find(key, now);
  PutResult result{.outcome = Judge(old, options)};
  const bool extends = old != nullptr && Extends(options.mode);
  result.value_bytes = data.size() + (extends ? old->value_bytes : 0);
  if (result.outcome == Outcome::kDone &&
      result.value_bytes > options_.max_value_bytes) {
    result.outcome = Outcome::kTooLarge;
  }
  if (result.outcome != Outcome::kDone) {
    if (result.outcome == Outcome::kNotStored && old != nullptr)
      shard.MarkRead(*old, now);
    return Count(shard, result, options);
  }

  if (old != nullptr && !Shard::MayPin(*old)) {
    if (!extends) shard.Unlink(*old);  // See below.
    result.outcome = Outcome::kNoMemory;
    return Count(shard, result, options);
  }
  const uint64_t old_cas = old != nullptr ? old->cas : 0;
  if (old != nullptr) shard.Pin(*old);  // Making room may unlink it.
  Item* const item = shard.Allocate(key, result.value_bytes, now);
  const bool unlock = item != nullptr && result.value_bytes > kShortCopy &&
                      locking == Locking::kBriefly;
  std::optional<NoPreempt> no_preempt;
  if (unlock && shard.IsCrowded()) no_preempt.emplace();
  if (unlock) guard.Unlock();
  if (item != nullptr) {
    const bool prepends = options.mode == StoreMode::kPrepend;
    const size_t at = prepends || !extends ? 0 : old->value_bytes;
    shard.arena().Write(*item, item->key_bytes + at, data);
    if (extends) Copy(shard.arena(), *old, *item, prepends ? data.size() : 0);
  }
  if (unlock) guard.Lock();
  if (unlock) shard.Advance(now);

  Item* const current = shard.Find(key, now);
  const bool changed =
      current != old || (old != nullptr && current->cas != old_cas);
  if (item == nullptr) {
    // Nobody may take the old value for the one that was refused.
    if (current != nullptr && !extends) shard.Unlink(*current);
    result.outcome = Outcome::kNoMemory;
  } else if (unlock && Extends(options.mode) && changed) {
    shard.Unpin(*item);
    if (old != nullptr) shard.Unpin(*old);
    return std::nullopt;
  } else if (unlock) {
    result.outcome = Judge(current, options);
  }
  if (result.outcome == Outcome::kDone) {
    const uint64_t compared = current != nullptr ? current->cas : old_cas;
    Publish(shard, key, *item, current, extends ? old : nullptr, options,
            compared);
    result.cas = item->cas;
  }
  if (old != nullptr) shard.Unpin(*old);
  if (item != nullptr) shard.Unpin(*item);
  return Count(shard, result, options);
}

// Links `item` in the place of `current`, which may be null. `extended`, if not
// null, is the item whose value it continues.
void Store::Publish(Shard& shard, const Key& key, Item& item, Item* current,
                    const Item* extended, const PutOptions& options,
                    uint64_t old_cas) {
  if (extended != nullptr) {
    item.flags = extended->flags;
    item.expires = extended->expires;
    item.bits = extended->bits & Item::kBinaryKey;
  } else {
    item.flags = options.flags;
    item.expires = Extends(options.mode)
                       ? options.vivify.value_or(kNeverExpires)
                       : options.expires;
    if (options.binary_key) item.Set(Item::kBinaryKey);
    if (options.invalidate && options.compare_cas &&
        *options.compare_cas < old_cas) {
      item.Set(Item::kStale);
    }
  }
  item.cas = options.new_cas ? *options.new_cas : shard.NextCas();
  if (current != nullptr) shard.Unlink(*current);
  shard.Link(key, item);
}

void Store::PutTooLarge(const Key& key, Seconds now, StoreMode mode) {
  Shard& shard = ShardOf(key);
  const ShardGuard guard(shard);
  shard.Advance(now);
  ++shard.stats.store_too_large;
  if (mode != StoreMode::kSet) return;
  if (Item* const item = shard.Find(key, now)) shard.Unlink(*item);
}

// Puts an item with a short value in the place of `old`, which is linked, and
// keeps the rest as it was. Returns it, or nullptr, with `old` as it was, if
// there is no room or `old` can't be pinned.
Item* Store::Rewrite(Shard& shard, const Key& key, Item& old,
                     std::string_view value, Seconds now) {
  if (!Shard::MayPin(old)) return nullptr;
  shard.Pin(old);
  Item* const item = shard.Allocate(key, value.size(), now);
  if (item != nullptr) {
    shard.arena().Write(*item, item->key_bytes,
                        std::as_bytes(std::span(value)));
    item->flags = old.flags;
    item->expires = old.expires;
    item->bits = old.bits & static_cast<uint8_t>(~Item::kLinked);
    if (old.Has(Item::kLinked)) shard.Unlink(old);
    shard.Link(key, *item);
    shard.Unpin(*item);
  }
  shard.Unpin(old);
  return item;
}

ArithmeticResult Store::Arithmetic(const Key& key, Seconds now,
                                   const ArithmeticOptions& options) {
  Shard& shard = ShardOf(key);
  const ShardGuard guard(shard);
  shard.Advance(now);
  ShardStats& stats = shard.stats;
  ArithmeticResult result;
  Item* item = shard.Find(key, now);
  if (item == nullptr) {
    ++(options.decrement ? stats.decr_misses : stats.incr_misses);
    return options.vivify ? StoreInitial(shard, key, now, options)
                          : ArithmeticResult{.outcome = Outcome::kNotFound};
  }
  if (options.compare_cas && *options.compare_cas != item->cas) {
    return {.outcome = Outcome::kExists};
  }
  char text[kLargestNumber];
  if (item->value_bytes > kLargestNumber)
    return {.outcome = Outcome::kNotNumeric};
  shard.arena().Read(*item, item->key_bytes, item->value_bytes,
                     reinterpret_cast<std::byte*>(text));
  if (!ParseStored({text, item->value_bytes}, result.number))
    return {.outcome = Outcome::kNotNumeric};
  ++(options.decrement ? stats.decr_hits : stats.incr_hits);
  if (options.decrement) {
    result.number -= std::min(result.number, options.delta);
  } else {
    result.number += options.delta;  // Wraps around, as the protocol says.
  }
  size_t digits = static_cast<size_t>(
      std::to_chars(text, text + sizeof(text), result.number).ptr - text);
  if (digits <= item->value_bytes && item->pins == 0) {
    // In place, as long as before: spaces behind a number that became shorter.
    while (digits < item->value_bytes) text[digits++] = ' ';
    shard.arena().Write(*item, item->key_bytes,
                        std::as_bytes(std::span(text, digits)));
    shard.MarkRead(*item, now);
  } else {
    item = Rewrite(shard, key, *item, {text, digits}, now);
    if (item == nullptr) return {.outcome = Outcome::kNoMemory};
  }
  if (options.expires) item->expires = *options.expires;
  item->cas = options.new_cas ? *options.new_cas : shard.NextCas();
  result.cas = item->cas;
  result.expires = item->expires;
  return result;
}

ArithmeticResult Store::StoreInitial(Shard& shard, const Key& key, Seconds now,
                                     const ArithmeticOptions& options) {
  char text[kLargestNumber];
  const size_t digits = static_cast<size_t>(
      std::to_chars(text, text + sizeof(text), options.initial).ptr - text);
  Item* const item = shard.Allocate(key, digits, now);
  if (item == nullptr) {
    ++shard.stats.store_no_memory;
    return {.outcome = Outcome::kNoMemory};
  }
  shard.arena().Write(*item, item->key_bytes,
                      std::as_bytes(std::span(text, digits)));
  item->expires = *options.vivify;
  item->cas = options.new_cas ? *options.new_cas : shard.NextCas();
  if (options.binary_key) item->Set(Item::kBinaryKey);
  shard.Link(key, *item);
  shard.Unpin(*item);
  return {.number = options.initial,
          .cas = item->cas,
          .expires = item->expires,
          .created = true};
}

}  // namespace yamanote::kv
