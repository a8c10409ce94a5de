// hints.cc - the program's side of the hints: asks the enclave for its table.

#include "yamanote/hints.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "native/hint_table.h"

namespace yamanote {

using native::BucketOf;
using native::HintCell;
using native::HintHeader;

namespace {

constexpr char kQuestion[] = R"({"ask":"hints"})";
constexpr int kPatienceMilliseconds = 2000;

// Closed at the end.
struct Descriptor {
  explicit Descriptor(int descriptor) : fd(descriptor) {}
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  const int fd;
};

tl::unexpected<Error> Silent(const std::string& path, int error) {
  return MakeError(
      error == EACCES || error == EPERM ? ErrorCode::kPermissionDenied
                                        : ErrorCode::kUnavailable,
      "no enclave answers at " + path + " (" + std::strerror(error) +
          "); `yamanote native list` shows those that there are",
      error);
}

Result<int> ConnectTo(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        "the enclave's socket is '" + path + "'; a path must have 1 .. " +
            std::to_string(sizeof address.sun_path - 1) + " characters");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return Silent(path, errno);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address),
              sizeof address) == 0)
    return fd;
  const int error = errno;
  close(fd);
  return Silent(path, error);
}

// The descriptor that comes with the answer; -1: there is none.
int ReceiveDescriptor(int fd) {
  pollfd polled{.fd = fd, .events = POLLIN, .revents = 0};
  if (poll(&polled, 1, kPatienceMilliseconds) <= 0) return -1;
  char answer[256];
  iovec part{.iov_base = answer, .iov_len = sizeof answer};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC) <= 0) return -1;
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET ||
      header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int)))
    return -1;
  int received = -1;
  std::memcpy(&received, CMSG_DATA(header), sizeof received);
  return received;
}

tl::unexpected<Error> OtherVersion(const std::string& path) {
  return MakeError(ErrorCode::kUnsupported,
                   "what answers at " + path +
                       " has no hints of this version; use the yamanote that "
                       "came with this library");
}

std::span<HintCell> Bucket(void* table, uint32_t buckets, int32_t tid) {
  auto* const header = static_cast<HintHeader*>(table);
  return BucketOf(reinterpret_cast<HintCell*>(header + 1), buckets, tid);
}

}  // namespace

Result<Hints> Hints::Open() {
  const char* const path = std::getenv("YAMANOTE_ENCLAVE");
  if (path == nullptr) {
    return MakeError(ErrorCode::kNotFound,
                     "YAMANOTE_ENCLAVE is not set, so this program is in no "
                     "enclave; start it by `yamanote native run`");
  }
  return Open(path);
}

Result<Hints> Hints::Open(const std::string& path) {
  const Result<int> connected = ConnectTo(path);
  if (!connected) return tl::unexpected(connected.error());
  const Descriptor socket(*connected);
  if (send(socket.fd, kQuestion, sizeof kQuestion - 1, MSG_NOSIGNAL) < 0)
    return Silent(path, errno);
  const Descriptor memory(ReceiveDescriptor(socket.fd));
  if (memory.fd < 0) return OtherVersion(path);
  struct stat status{};
  if (fstat(memory.fd, &status) != 0 ||
      status.st_size < static_cast<off_t>(sizeof(HintHeader)))
    return OtherVersion(path);
  const auto bytes = static_cast<std::size_t>(status.st_size);
  void* const table =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0);
  if (table == MAP_FAILED) {
    return MakeError(ErrorCode::kResourceExhausted,
                     "the hints' memory cannot be mapped; free address space",
                     errno);
  }
  // Read once: whoever else has the table can write there.
  HintHeader header{};
  std::memcpy(&header, table, sizeof header);
  Hints hints(table, bytes, header.buckets);
  const std::size_t cells =
      std::size_t{header.buckets} * native::kHintsPerBucket;
  if (header.magic != native::kHintMagic ||
      header.version != native::kHintVersion ||
      !std::has_single_bit(header.buckets) ||
      bytes < sizeof(HintHeader) + cells * sizeof(HintCell))
    return OtherVersion(path);
  return hints;
}

Hints::Hints(Hints&& other) noexcept
    : table_(std::exchange(other.table_, nullptr)),
      bytes_(other.bytes_),
      buckets_(other.buckets_) {}

Hints& Hints::operator=(Hints&& other) noexcept {
  std::swap(table_, other.table_);
  std::swap(bytes_, other.bytes_);
  std::swap(buckets_, other.buckets_);
  return *this;
}

Hints::~Hints() {
  if (table_ != nullptr) munmap(table_, bytes_);
}

Result<void> Hints::Set(const Hint& hint) {
  const pid_t tid = gettid();
  return native::WriteHint(Bucket(table_, buckets_, tid), tid, hint);
}

void Hints::Clear() {
  const pid_t tid = gettid();
  native::ForgetHint(Bucket(table_, buckets_, tid), tid);
}

}  // namespace yamanote
