// blocks.h - where items live: fixed-size blocks, chained.
//
// An item is a chain of blocks of 128 bytes: its header and the start of its
// key and value in the first one, the rest in those behind it. So memory has
// one size: a large item replaces exactly as many small ones as it needs, no
// size class can run dry while another has room, and nothing is fragmented. The
// price is half a block lost per item and a copy block by block.
//
// Rejected: size classes in pages as in memcached (64 MiB in 16 shards leave
// too few pages for 40 classes each); a general allocator (a large item might
// have to evict nearly everything to find a hole).
//
// A freed chain goes back whole, in order: a large item that replaces another
// one gets neighbouring blocks again.
//
// Not thread-safe: the shard's lock guards it.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "yamanote/service.h"

namespace yamanote::kv {

// Within an arena; 0 is none. An item is named by its first block.
using BlockIndex = uint32_t;
inline constexpr BlockIndex kNoBlock = 0;
inline constexpr size_t kBlockBytes = 128;

// Seconds of a store's own clock; see store_clock.h.
using Seconds = uint32_t;
inline constexpr Seconds kNeverExpires = 0;

// The header of an item, at the start of its first block.
struct Item {
  enum Bit : uint8_t {
    kLinked = 1,      // In the index and in the clock queue.
    kVisited = 2,     // Read since the clock's hand last passed.
    kFetched = 4,     // Read at all.
    kStale = 8,       // Marked invalid by a meta command.
    kTokenSent = 16,  // One client was told to refresh it.
    kBinaryKey = 32,  // The key came as base64.
  };

  BlockIndex next_block;  // Only through BlockArena: every block begins so.
  BlockIndex last_block;
  uint64_t cas;
  uint32_t tag;      // Lower half of the key's hash.
  BlockIndex chain;  // Next item of the same bucket.
  BlockIndex newer;  // Clock queue.
  BlockIndex older;
  uint32_t flush_epoch;  // The shard's when it was stored.
  Seconds expires;       // kNeverExpires, or dead from this second on.
  Seconds last_access;
  uint32_t flags;
  uint32_t value_bytes;
  uint16_t pins;  // Readers and writers at work without the lock.
  uint8_t key_bytes;
  uint8_t bits;

  bool Has(Bit bit) const { return (bits & bit) != 0; }
  void Set(Bit bit) { bits = static_cast<uint8_t>(bits | bit); }
  void Unset(Bit bit) { bits = static_cast<uint8_t>(bits & ~bit); }
};

inline constexpr size_t kFirstPayload = kBlockBytes - sizeof(Item);
inline constexpr size_t kLaterPayload = kBlockBytes - sizeof(BlockIndex);
static_assert(sizeof(Item) == 56 && kBlockBytes % alignof(Item) == 0);

// Returns how many blocks an item of `payload` bytes, key and value, needs.
constexpr size_t BlocksFor(size_t payload) {
  if (payload <= kFirstPayload) return 1;
  return 1 + (payload - kFirstPayload + kLaterPayload - 1) / kLaterPayload;
}

class BlockArena {
 public:
  // Cuts `memory`, zero-filled and aligned to kBlockBytes, into `blocks`
  // blocks; the first one is never used.
  void Init(std::byte* memory, uint32_t blocks) {
    memory_ = memory;
    blocks_ = blocks;
  }

  size_t free_blocks() const { return freed_ + (blocks_ - fresh_); }
  size_t usable_blocks() const { return blocks_ - 1; }
  size_t used_blocks() const { return usable_blocks() - free_blocks(); }

  Item& At(BlockIndex index) const {
    return *reinterpret_cast<Item*>(memory_ + index * kBlockBytes);
  }
  BlockIndex IndexOf(const Item& item) const {
    return static_cast<BlockIndex>(
        (reinterpret_cast<const std::byte*>(&item) - memory_) / kBlockBytes);
  }

  // Returns a chain of `count` blocks with next_block and last_block set and
  // the rest of the header as it was. Requires: 1 <= count <= free_blocks().
  Item& Allocate(size_t count) {
    const BlockIndex first = TakeBlock();
    BlockIndex last = first;
    for (size_t i = 1; i < count; ++i) {
      const BlockIndex block = TakeBlock();
      Next(last) = block;
      last = block;
    }
    Next(last) = kNoBlock;
    Item& item = At(first);
    item.last_block = last;
    return item;
  }

  // Takes back the chain of `item`, which has `count` blocks.
  void Free(Item& item, size_t count) {
    Next(item.last_block) = free_;
    free_ = IndexOf(item);
    freed_ += count;
  }

  // Calls `visit(std::byte* piece, size_t bytes)` for the pieces of `item`'s
  // payload from `offset` on, `bytes` altogether.
  template <typename Visit>
  void ForEachPiece(Item& item, size_t offset, size_t bytes,
                    Visit&& visit) const {
    std::byte* block = reinterpret_cast<std::byte*>(&item);
    size_t header = sizeof(Item);
    while (bytes > 0) {
      const size_t payload = kBlockBytes - header;
      const BlockIndex next = *reinterpret_cast<const BlockIndex*>(block);
      if (bytes > payload) __builtin_prefetch(memory_ + next * kBlockBytes);
      if (offset < payload) {
        const size_t piece = std::min(bytes, payload - offset);
        visit(block + header + offset, piece);
        bytes -= piece;
        offset = 0;
      } else {
        offset -= payload;
      }
      block = memory_ + next * kBlockBytes;
      header = sizeof(BlockIndex);
    }
  }

  // Copies `bytes` into the payload of `item` from `offset` on.
  void Write(Item& item, size_t offset, Bytes bytes) const {
    const std::byte* from = bytes.data();
    ForEachPiece(item, offset, bytes.size(),
                 [&](std::byte* piece, size_t size) {
                   std::memcpy(piece, from, size);
                   from += size;
                 });
  }

  // Copies `bytes` bytes of the payload of `item`, from `offset` on, to `to`.
  void Read(Item& item, size_t offset, size_t bytes, std::byte* to) const {
    ForEachPiece(item, offset, bytes, [&](const std::byte* piece, size_t size) {
      std::memcpy(to, piece, size);
      to += size;
    });
  }

 private:
  BlockIndex& Next(BlockIndex index) const {
    return *reinterpret_cast<BlockIndex*>(memory_ + index * kBlockBytes);
  }

  BlockIndex TakeBlock() {
    if (free_ == kNoBlock) return fresh_++;
    const BlockIndex block = free_;
    free_ = Next(block);
    --freed_;
    return block;
  }

  std::byte* memory_ = nullptr;
  uint32_t blocks_ = 1;
  BlockIndex fresh_ = 1;        // From here on no block was ever used.
  BlockIndex free_ = kNoBlock;  // List of those that came back.
  size_t freed_ = 0;            // Its length.
};

}  // namespace yamanote::kv
