// room.cc - statvfs, and sums.

#include "apps/rocksdb/room.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <rocksdb/options.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <limits>
#include <system_error>

namespace yamanote::rocks {
namespace {

namespace fs = std::filesystem;

// RocksDB can do with this much, badly.
constexpr uint64_t kLeastWriteBuffer = uint64_t{64} << 10;

uint64_t AvailableMemory() {
  std::ifstream file("/proc/meminfo");
  for (std::string name, unit; file >> name;) {
    uint64_t kib = 0;
    if (name == "MemAvailable:" && file >> kib) return kib << 10;
    std::getline(file, unit);
  }
  return std::numeric_limits<uint64_t>::max();  // Unknown.
}

uint64_t BytesOfFiles(const std::string& directory) {
  uint64_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    const uint64_t size = it->file_size(gone);
    if (!gone) bytes += size;
  }
  return bytes;
}

}  // namespace

Result<uint64_t> RoomIn(const std::string& directory) {
  struct statfs found{};
  int failed = 0;
  do {
    failed = statfs(directory.c_str(), &found);
  } while (failed != 0 && errno == EINTR);
  if (failed != 0) {
    const int number = errno;
    return MakeError(ErrorCode::kUnavailable,
                     fmt::format("the room in {} is unknown: {}", directory,
                                 std::generic_category().message(number)),
                     number);
  }
  uint64_t free =
      uint64_t{found.f_bavail} * static_cast<uint64_t>(found.f_bsize);
  // tmpfs counts what may be put in it, not what memory is left.
  if (found.f_type == TMPFS_MAGIC || found.f_type == RAMFS_MAGIC)
    free = std::min(free, AvailableMemory());
  return free + BytesOfFiles(directory);
}

uint64_t WriteBufferFor(uint64_t room, uint64_t wanted) {
  const uint64_t most = room / (8 * kWriteBuffers);
  return std::min(wanted, std::max(most, kLeastWriteBuffer));
}

uint64_t MostBytesFor(uint64_t room, uint64_t write_buffer) {
  const ::rocksdb::Options defaults;
  const uint64_t compaction =
      static_cast<uint64_t>(defaults.level0_slowdown_writes_trigger) *
          write_buffer +
      25 * defaults.target_file_size_base;
  const uint64_t buffers = kWriteBuffers * write_buffer;
  if (room <= buffers) return 0;
  room -= buffers;
  // Tables, and as much again or what a compaction takes at most.
  const uint64_t tables =
      std::max(room / 2, room > compaction ? room - compaction : 0);
  return tables > buffers ? tables - buffers : 0;
}

}  // namespace yamanote::rocks
