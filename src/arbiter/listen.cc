// listen.cc - the socket's file: ours alone, and never a live arbiter's.

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "arbiter/server.h"

namespace yamanote::arbiter {
namespace {

tl::unexpected<Error> Failed(const std::string& path, const std::string& what,
                             const std::string& remedy) {
  const int error = errno;
  return MakeError(error == EACCES || error == EPERM
                       ? ErrorCode::kPermissionDenied
                       : ErrorCode::kUnavailable,
                   path + ": " + what + " (" +
                       std::generic_category().message(error) + "); " + remedy,
                   error);
}

tl::unexpected<Error> Occupied(const std::string& path) {
  return MakeError(ErrorCode::kUnavailable,
                   path +
                       " is served by a running yamanoted; end that one, or "
                       "name another path with --socket",
                   EADDRINUSE);
}

}  // namespace

std::string DefaultSocket() {
  if (geteuid() == 0) return kSystemSocket;
  const char* const folder = std::getenv("XDG_RUNTIME_DIR");
  if (folder == nullptr || *folder == '\0') return "";
  return std::string(folder) + "/yamanote/arbiter.sock";
}

// Held as long as we live, however we end: so nobody else takes the place.
Result<void> Server::Lock() {
  const std::string path = options_.path + ".lock";
  lock_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock_ < 0)
    return Failed(path, "can't be opened", "name a path that you may write");
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) return Occupied(options_.path);
  return {};
}

Result<void> Server::Listen() {
  const std::string& path = options_.path;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "the socket's path has " + std::to_string(path.size()) +
                         " characters; 1 to " +
                         std::to_string(sizeof address.sun_path - 1) +
                         " are possible, name another with --socket",
                     ENAMETOOLONG);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto* const name = reinterpret_cast<const sockaddr*>(&address);
  if (Result<void> locked = Lock(); !locked) return locked;
  listener_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (listener_ < 0 || epoll_ < 0 || spare_ < 0)
    return Failed(path, "no socket can be had", "raise `ulimit -n`");

  struct stat status{};
  if (lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) {
      errno = EEXIST;
      return Failed(path, "is there and no socket",
                    "name another path with --socket");
    }
    // Ours by the lock; but somebody without one might answer.
    const int probe =
        socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const bool answers =
        probe >= 0 && (connect(probe, name, sizeof address) == 0 ||
                       errno == EAGAIN || errno == EPROTOTYPE);
    if (probe >= 0) close(probe);
    if (answers) return Occupied(path);
    if (unlink(path.c_str()) != 0)
      return Failed(path, "is a dead socket that can't be removed",
                    "remove it");
  }
  if (bind(listener_, name, sizeof address) != 0)
    return Failed(path, "can't be bound", "name a path that you may write");
  bound_ = true;
  // Who may do what is decided by who connects.
  if (chmod(path.c_str(), 0666) != 0 || listen(listener_, 64) != 0 ||
      !Add(listener_, UINT64_MAX, EPOLLIN))
    return Failed(path, "can't be listened on", "name another with --socket");
  return {};
}

}  // namespace yamanote::arbiter
