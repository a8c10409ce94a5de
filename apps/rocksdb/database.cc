// database.cc - RocksDB's options, and why each is not the default.

#include "apps/rocksdb/database.h"

#include <fmt/format.h>
#include <rocksdb/env.h>
#include <rocksdb/sst_file_manager.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "apps/rocksdb/room.h"

namespace yamanote::rocks {
namespace {

using ::rocksdb::Env;
using ::rocksdb::Slice;
using ::rocksdb::Status;

// So many keys are stored at once, or fewer of so many bytes.
constexpr uint64_t kFillBatch = 1000;
constexpr size_t kFillBytes = size_t{1} << 20;

Slice AsSlice(std::string_view text) { return {text.data(), text.size()}; }

// Tables that are read where they lie in memory: no block cache, hence none of
// its locks, no copies, no decompression.
void SetReading(::rocksdb::Options& options) {
  ::rocksdb::BlockBasedTableOptions table;
  table.no_block_cache = true;
  table.checksum = ::rocksdb::kXXH3;
  options.table_factory.reset(::rocksdb::NewBlockBasedTableFactory(table));
  options.allow_mmap_reads = true;
  options.compression = ::rocksdb::kNoCompression;
  options.max_open_files = -1;  // No cache of open tables either.
}

// Two threads of RocksDB's own, of the lowest priority. They sleep until a
// write buffer is full, so a load of reads never meets them.
void SetThreads(::rocksdb::Options& options) {
  Env* const env = options.env;
  // Now, on this thread: RocksDB would start them from the first request that
  // needs them, bound to the core of the worker that runs it.
  for (const Env::Priority pool : {Env::HIGH, Env::LOW}) {
    env->SetBackgroundThreads(1, pool);
    // A preference; without it they are as any thread.
    static_cast<void>(
        env->LowerThreadPoolCPUPriority(pool, ::rocksdb::CpuPriority::kLow));
  }
  options.max_background_jobs = 2;
  options.max_file_opening_threads = 1;
  options.stats_dump_period_sec = 0;  // No statistics by timer.
  options.stats_persist_period_sec = 0;
  // Files are deleted by a background thread, not by whoever happens to be the
  // last to let go of an iterator.
  options.avoid_unnecessary_blocking_io = true;
  // Its critical sections are shorter than a sleep in the kernel.
  options.use_adaptive_mutex = true;
}

void SetFiles(::rocksdb::Options& options, uint64_t write_buffer_bytes) {
  options.create_if_missing = true;
  options.write_buffer_size = write_buffer_bytes;
  options.max_write_buffer_number = kWriteBuffers;
  options.min_write_buffer_number_to_merge = 1;
  // In tmpfs what is allocated beforehand is memory that nobody uses.
  options.allow_fallocate = false;
  options.info_log_level = ::rocksdb::WARN_LEVEL;
  options.keep_log_file_num = 1;
  options.skip_stats_update_on_db_open = true;
}

tl::unexpected<Error> Refused(const DatabaseOptions& options,
                              const std::string& path, std::string_view what,
                              const Status& status) {
  const bool full = status.IsNoSpace() || status.IsIOError();
  if (options.path.empty()) {
    return MakeError(
        ErrorCode::kUnavailable,
        fmt::format("rocksdb.path is not set, so {} in {} failed: {}; make "
                    "room there, use fewer rocksdb.keys ({}), or set "
                    "rocksdb.path (--rocksdb-path) to a directory elsewhere",
                    what, path, status.ToString(), options.keys));
  }
  return MakeError(
      ErrorCode::kUnavailable,
      fmt::format("rocksdb.path = \"{}\": {} failed: {}; {}", path, what,
                  status.ToString(),
                  full ? "name a directory (--rocksdb-path) that can be "
                         "written, has room, and no other server uses, or "
                         "leave the option out: then data is in memory"
                       : "name a directory (--rocksdb-path) that is empty or "
                         "was made by `yamanote serve rocksdb`"));
}

}  // namespace

uint64_t MostFiles(uint64_t max_bytes) {
  // A full table has 64 MiB; twice as many, because a compaction's result is
  // there beside what it replaces. The rest: small tables before their first
  // compaction (36 at most), logs, manifests, and some to spare.
  const uint64_t table = ::rocksdb::Options().target_file_size_base;
  return 256 + 2 * (max_bytes / table);
}

std::string KeyName(uint64_t number) {
  return fmt::format("key-{:08}", number);
}

Result<std::unique_ptr<Database>> Database::Open(DatabaseOptions options) {
  std::unique_ptr<Database> out(new Database(std::move(options)));
  out->path_ = out->options_.path;
  if (out->path_.empty()) {
    auto made = PrivateDirectory::Create(out->options_.memory_root);
    if (!made) {
      return MakeError(
          made.error().code,
          fmt::format("rocksdb.path is not set, and {}; set rocksdb.path "
                      "(--rocksdb-path) to a directory for the data",
                      made.error().message),
          made.error().system_errno);
    }
    out->private_directory_ = std::move(*made);
    out->path_ = out->private_directory_->path();
  }
  if (auto room = out->FindRoom(); !room) return tl::unexpected(room.error());
  if (auto opened = out->OpenFiles(); !opened)
    return tl::unexpected(opened.error());
  if (auto filled = out->Fill(); !filled) return tl::unexpected(filled.error());
  return out;
}

Result<void> Database::FindRoom() {
  std::error_code error;
  std::filesystem::create_directory(path_, error);
  const Result<uint64_t> room = RoomIn(path_);
  if (!room) return {};  // RocksDB can't open it either, and says why.
  write_buffer_bytes_ = WriteBufferFor(*room, options_.write_buffer_bytes);
  const uint64_t most = MostBytesFor(*room, write_buffer_bytes_);
  if (options_.max_bytes <= most) return {};
  if (options_.without_room == DatabaseOptions::WithoutRoom::kLower) {
    max_bytes_ = most;
    return {};
  }
  return MakeError(
      ErrorCode::kInvalidArgument,
      fmt::format(
          "rocksdb.max_bytes = {}, but of the {} bytes that are free in "
          "{} compactions and write buffers leave room for {}; lower "
          "rocksdb.max_bytes, make room there, or {} (--rocksdb-path) to "
          "a directory elsewhere",
          options_.max_bytes, *room, path_, most,
          options_.path.empty() ? "set rocksdb.path" : "change rocksdb.path"));
}

Result<void> Database::OpenFiles() {
  ::rocksdb::Options options;
  SetReading(options);
  SetThreads(options);
  SetFiles(options, write_buffer_bytes_);
  files_.reset(::rocksdb::NewSstFileManager(options.env));
  options.sst_file_manager = files_;
  // What is gone at the end needs no log. What stays has one, so that a killed
  // process loses nothing; without a sync, so a machine that fails may.
  write_.disableWAL = options_.path.empty();
  options.avoid_flush_during_shutdown = write_.disableWAL;
  write_.no_slowdown = true;
  read_.verify_checksums = !options_.path.empty();  // Memory needs none.
  read_.max_skippable_internal_keys = Walk::kMostSkipped;

  ::rocksdb::DB* db = nullptr;
  const Status opened = ::rocksdb::DB::Open(options, path_, &db);
  if (!opened.ok()) return Refused(options_, path_, "opening it", opened);
  db_.reset(db);
  return {};
}

Result<void> Database::Fill() {
  {
    Walk first = NewWalk(nullptr);
    first.Seek("");
    if (first.Valid()) return {};  // It has data.
    if (!first.status().ok())
      return Refused(options_, path_, "reading it", first.status());
  }
  if (options_.keys == 0) return {};
  // Tables take a little more: an index, and a few bytes with each key.
  const uint64_t each = options_.value_bytes + KeyName(0).size();
  if (options_.keys > max_bytes_ / each) {
    const bool lowered = max_bytes_ < options_.max_bytes;
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "rocksdb.keys = {} of rocksdb.value_bytes = {} and {} of "
            "key do not fit into {} = {}; ask for {} keys at most, or {}",
            options_.keys, options_.value_bytes, KeyName(0).size(),
            lowered ? "what " + path_ + " has room for" : "rocksdb.max_bytes",
            max_bytes_, max_bytes_ / each,
            lowered ? "make room there" : "raise rocksdb.max_bytes"));
  }
  const std::string value(options_.value_bytes, 'v');
  ::rocksdb::WriteOptions write;
  write.disableWAL = true;  // Flushed below.
  ::rocksdb::WriteBatch batch;
  for (uint64_t i = 0; i < options_.keys;) {
    if (options_.cancelled()) {
      return MakeError(ErrorCode::kCancelled,
                       "interrupted before all keys were stored");
    }
    batch.Clear();
    const uint64_t end = std::min(options_.keys, i + kFillBatch);
    for (; i < end && batch.GetDataSize() < kFillBytes; ++i) {
      const Status added = batch.Put(KeyName(i), value);
      if (!added.ok()) return Refused(options_, path_, "storing keys", added);
    }
    const Status written = db_->Write(write, &batch);
    if (!written.ok()) return Refused(options_, path_, "storing keys", written);
  }
  Status done = db_->Flush({});
  // One sorted run: reads look into one table only.
  if (done.ok()) done = db_->CompactRange({}, nullptr, nullptr);
  if (!done.ok()) return Refused(options_, path_, "storing keys", done);
  return {};
}

Database::~Database() {
  if (db_ == nullptr) return;
  // There is nobody to tell; what the log holds is read at the next start.
  static_cast<void>(db_->Close());
}

Status Database::Get(std::string_view key,
                     ::rocksdb::PinnableSlice& value) const {
  return db_->Get(read_, db_->DefaultColumnFamily(), AsSlice(key), &value);
}

Status Database::Put(std::string_view key, std::string_view value) {
  if (TableBytes() >= max_bytes_) return Status::MemoryLimit();
  return db_->Put(write_, AsSlice(key), AsSlice(value));
}

Status Database::Delete(std::string_view key) {
  return db_->Delete(write_, AsSlice(key));
}

Walk Database::NewWalk(void (*give_way)()) const {
  return {std::unique_ptr<::rocksdb::Iterator>(db_->NewIterator(read_)),
          give_way};
}

uint64_t Database::EstimatedKeys() const {
  uint64_t keys = 0;
  db_->GetIntProperty(::rocksdb::DB::Properties::kEstimateNumKeys, &keys);
  return keys;
}

uint64_t Database::TableBytes() const { return files_->GetTotalSize(); }

void Database::Discard() {
  if (private_directory_) private_directory_->Remove();
}

}  // namespace yamanote::rocks
