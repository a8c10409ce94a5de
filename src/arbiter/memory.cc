// memory.cc - memfds and their seals.

#include "arbiter/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

namespace yamanote::arbiter {

Result<SharedMemory> SharedMemory::Create(const char* name, std::size_t bytes,
                                          Writer writer) {
  SharedMemory memory;
  const auto failed = [&](const char* call) {
    return MakeError(ErrorCode::kResourceExhausted,
                     "memory to share with an application (" +
                         std::to_string(bytes) + " bytes): " + call +
                         " failed; raise `ulimit -n` or free memory",
                     errno);
  };
  memory.descriptor_ = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (memory.descriptor_ < 0) return failed("memfd_create");
  const int fd = memory.descriptor_;
  // All of it exists, so reading never has to wait for memory.
  if (const int error = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
      error != 0) {
    errno = error;
    return failed("fallocate");
  }
  void* const data =
      mmap(nullptr, bytes,
           writer == Writer::kTheirs ? PROT_READ : PROT_READ | PROT_WRITE,
           MAP_SHARED | MAP_POPULATE, fd, 0);
  if (data == MAP_FAILED) return failed("mmap");
  memory.data_ = data;
  memory.bytes_ = bytes;
  // After mapping: the last one forbids any further mapping that is written.
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL |
                    (writer == Writer::kOurs ? F_SEAL_FUTURE_WRITE : 0);
  if (fcntl(fd, F_ADD_SEALS, seals) != 0) return failed("F_ADD_SEALS");
  return memory;
}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) munmap(data_, bytes_);
  if (descriptor_ >= 0) close(descriptor_);
}

}  // namespace yamanote::arbiter
