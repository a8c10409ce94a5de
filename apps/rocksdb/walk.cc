// walk.cc - on from where RocksDB stopped.

#include "apps/rocksdb/walk.h"

#include "base/check.h"

namespace yamanote::rocks {
namespace {

std::string_view AsView(const ::rocksdb::Slice& slice) {
  return {slice.data(), slice.size()};
}

}  // namespace

void Walk::Seek(std::string_view start) {
  iterator_->Seek({start.data(), start.size()});
  if (!iterator_->Valid()) GoOn();
}

void Walk::Next() {
  iterator_->Next();
  if (!iterator_->Valid()) GoOn();
}

std::string_view Walk::key() const { return AsView(iterator_->key()); }

std::string_view Walk::value() const { return AsView(iterator_->value()); }

void Walk::GoOn() {
  bool again = false;
  // Nothing else is incomplete: all reads may wait for a disk.
  while (iterator_->status().IsIncomplete()) {
    std::string stopped;
    const ::rocksdb::Status known =
        iterator_->GetProperty("rocksdb.iterator.internal-key", &stopped);
    YAMANOTE_CHECK(known.ok(), "RocksDB does not say where it stopped");
    // The keys up to this one are deleted, and it may be: never seen twice.
    YAMANOTE_CHECK(!again || stopped > stopped_, "no progress");
    stopped_.swap(stopped);
    again = true;
    if (give_way_ != nullptr) give_way_();
    iterator_->Seek(stopped_);
  }
}

}  // namespace yamanote::rocks
