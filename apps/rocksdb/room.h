// room.h - how many bytes of tables a file system has room for.
//
// A write that finds the disk full leaves RocksDB refusing all further ones. So
// max_bytes is held against the room there is when the database is opened. Three
// things take room beyond the tables that max_bytes counts:
//   - four write buffers, which become tables although the limit is reached;
//   - the result of a compaction, which is there beside what it replaces: as many
//     bytes as all tables have, up to what RocksDB takes in one: 20 tables of the
//     newest level (more, and it refuses writers) and max_compaction_bytes, 25
//     full tables, of others;
//   - once more the four write buffers: themselves in memory, as logs on a disk.
//
// Not for room that others take later, nor for memory limits of a cgroup.
//
// Source: RocksDB 7.8.3, include/rocksdb/options.h (level0_slowdown_writes_trigger)
// and advanced_options.h (max_compaction_bytes, target_file_size_base).

#pragma once

#include <cstdint>
#include <string>

#include "yamanote/result.h"

namespace yamanote::rocks {

constexpr uint64_t kWriteBuffers = 4;

// Bytes that are free for this user in the file system of `directory`, and those
// of the files in it. In a file system in memory no more are free than the
// machine has available. Errors name the directory.
Result<uint64_t> RoomIn(const std::string& directory);

// The write buffer to use in `room` bytes: `wanted`, or less so that all take an
// eighth.
uint64_t WriteBufferFor(uint64_t room, uint64_t wanted);

// The most max_bytes for which `room` bytes suffice.
uint64_t MostBytesFor(uint64_t room, uint64_t write_buffer);

}  // namespace yamanote::rocks
