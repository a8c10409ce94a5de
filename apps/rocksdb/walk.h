// walk.h - the keys of the store in order, by steps of bounded time.
//
// RocksDB's iterator passes over deleted keys within one step, however many they
// are, and nothing can end a slice inside RocksDB. So it is told to stop after
// kMostSkipped of them; a Walk then gives way and goes on from where it stopped,
// which costs a seek. What it shows is the store as it was when the walk began.
//
// Going on makes progress: RocksDB passes over the versions of one key by at most
// two seeks, each after max_sequential_skip_in_iterations (8) steps, so more than
// one key lies within kMostSkipped.
//
// Rejected: compacting tables with many deletions sooner
// (CompactOnDeletionCollectorFactory). It does nothing about those that are still
// in memtables, half a million and more in one.
//
// One thread at a time; another may go on between two calls, and where it gives
// way. Goes before the database does.
//
// Source: RocksDB 7.8.3, db/db_iter.cc (FindNextUserEntryInternal) and
// include/rocksdb/iterator.h ("rocksdb.iterator.internal-key").

#pragma once

#include <rocksdb/iterator.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace yamanote::rocks {

class Walk {
 public:
  // Of RocksDB's internal keys, two for a deleted one that isn't compacted yet.
  static constexpr uint64_t kMostSkipped = 64;

  // `give_way` may be null. The iterator's max_skippable_internal_keys is
  // kMostSkipped.
  Walk(std::unique_ptr<::rocksdb::Iterator> iterator, void (*give_way)())
      : iterator_(std::move(iterator)), give_way_(give_way) {}

  // To the first key at or behind `start`.
  void Seek(std::string_view start);
  // Requires: Valid(), as what follows.
  void Next();
  // Whether it is at a key. If not, it came to the end or status() says why.
  bool Valid() const { return iterator_->Valid(); }
  // Until the next step.
  std::string_view key() const;
  std::string_view value() const;
  // Never Incomplete.
  ::rocksdb::Status status() const { return iterator_->status(); }

 private:
  void GoOn();

  std::unique_ptr<::rocksdb::Iterator> iterator_;
  void (*give_way_)();
  std::string stopped_;
};

}  // namespace yamanote::rocks
