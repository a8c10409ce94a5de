// database.h - RocksDB as the service uses it: in memory, and never waiting
// longer than a memory copy where that can be helped.
//
// Calls run on user threads. Each of them begins and ends on one kernel thread,
// because RocksDB has no scheduling point inside; what it keeps per kernel
// thread (its cache of SuperVersions, its counters) is never seen half-used. An
// iterator is the exception: its owner may go on elsewhere between two steps.
// That is safe: it holds references of its own to the memtables and tables that
// it reads, no lock and nothing of the thread it was made on.
//
// Source: RocksDB 7.8.3, db/column_family.cc (GetReferencedSuperVersion) and
// include/rocksdb/iterator.h; docs/adr/0019-rocksdb-in-memory.md has the choices.

#pragma once

#include <rocksdb/db.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "apps/rocksdb/private_directory.h"
#include "apps/rocksdb/walk.h"
#include "yamanote/result.h"

namespace yamanote::rocks {

struct DatabaseOptions {
  // Where the data is and stays. Empty: in memory, gone at the end.
  std::string path = {};
  // Where it is if `path` is empty: a directory in memory.
  std::string memory_root = "/dev/shm";
  // An empty database is given so many keys, KeyName(0) and on, ...
  uint64_t keys = 100'000;
  // ... each with so many bytes.
  uint64_t value_bytes = 100;
  // Beyond, Put() refuses, and Open() more `keys` than fit. Tables only: write
  // buffers come on top.
  uint64_t max_bytes = uint64_t{1} << 30;
  // What Open() does where the file system has no room for so many, and for what
  // compactions and write buffers take on top (room.h).
  enum class WithoutRoom { kRefuse, kLower };
  WithoutRoom without_room = WithoutRoom::kLower;
  // One of up to four memtables; less where there is little room.
  uint64_t write_buffer_bytes = uint64_t{64} << 20;
  // Asked now and then while keys are stored: whether to give up.
  std::function<bool()> cancelled = [] { return false; };
};

// Files that a database of `max_bytes` may have open at a time: RocksDB keeps all
// of its tables open, and never recovers from one that it could not open.
uint64_t MostFiles(uint64_t max_bytes);

// "key-00000042": what `yamanote load` asks for, too.
std::string KeyName(uint64_t number);

class Database {
 public:
  // Opens or makes the database, and fills it. Starts RocksDB's threads, which
  // run where the calling thread may and inherit its blocked signals. Errors
  // name the option, its value and the remedy. Not on a user thread: it takes
  // more stack and time than one has.
  static Result<std::unique_ptr<Database>> Open(DatabaseOptions options);
  ~Database();

  // Any thread, several at once. They return what RocksDB does; Put() moreover
  // MemoryLimit if max_bytes is reached, and Incomplete where RocksDB would
  // wait for its background threads.
  ::rocksdb::Status Get(std::string_view key,
                        ::rocksdb::PinnableSlice& value) const;
  ::rocksdb::Status Put(std::string_view key, std::string_view value);
  ::rocksdb::Status Delete(std::string_view key);
  // All keys as they are now, in order. `give_way`, if not null, is called where
  // a step would take too long.
  Walk NewWalk(void (*give_way)()) const;

  // An estimate: an exact count would read every key.
  uint64_t EstimatedKeys() const;
  // Of tables.
  uint64_t TableBytes() const;
  const std::string& path() const { return path_; }
  // The option's, or as many as there was room for when it was opened.
  uint64_t max_bytes() const { return max_bytes_; }
  const DatabaseOptions& options() const { return options_; }

  // Removes what is temporary at once, although requests run: for a process
  // that is about to end. Any thread.
  void Discard();

 private:
  explicit Database(DatabaseOptions options) : options_(std::move(options)) {}
  Result<void> FindRoom();
  Result<void> OpenFiles();
  Result<void> Fill();

  const DatabaseOptions options_;
  uint64_t max_bytes_ = options_.max_bytes;
  uint64_t write_buffer_bytes_ = options_.write_buffer_bytes;
  std::unique_ptr<PrivateDirectory> private_directory_;
  std::string path_;
  std::shared_ptr<::rocksdb::SstFileManager> files_;
  ::rocksdb::WriteOptions write_;
  ::rocksdb::ReadOptions read_;
  std::unique_ptr<::rocksdb::DB> db_;  // Closed before its directory goes.
};

}  // namespace yamanote::rocks
