// private_directory.cc - mkdtemp, flock and the removal of what is left over.

#include "apps/rocksdb/private_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <system_error>

namespace yamanote::rocks {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "yamanote-rocksdb-";
// The owner may still be making files while they are removed.
constexpr int kRemovals = 8;

// Returns the locked directory, -1 if it is another's or gone.
int Lock(const std::string& path) {
  const int fd =
      open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return -1;
  struct stat locked{}, named{};
  const bool ours =
      flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &locked) == 0 &&
      lstat(path.c_str(), &named) == 0 && locked.st_ino == named.st_ino &&
      locked.st_dev == named.st_dev && locked.st_uid == geteuid();
  if (ours) return fd;
  close(fd);
  return -1;
}

void RemoveAll(const std::string& path) {
  std::error_code error;
  for (int i = 0; i < kRemovals; ++i) {
    fs::remove_all(path, error);
    if (!error) return;
  }
}

// Removes what processes left in `root` that were killed.
void RemoveLeftovers(const std::string& root) {
  std::error_code error;
  for (fs::directory_iterator it(root, error), end; !error && it != end;
       it.increment(error)) {
    if (!it->path().filename().native().starts_with(kPrefix)) continue;
    const int lock = Lock(it->path().native());
    if (lock < 0) continue;
    RemoveAll(it->path().native());
    close(lock);
  }
}

}  // namespace

Result<std::unique_ptr<PrivateDirectory>> PrivateDirectory::Create(
    const std::string& root) {
  RemoveLeftovers(root);
  // Another process may take ours for a leftover before it is locked.
  for (;;) {
    std::string path = fmt::format("{}/{}XXXXXX", root, kPrefix);
    if (mkdtemp(path.data()) == nullptr) {
      const int why = errno;
      return MakeError(ErrorCode::kUnavailable,
                       fmt::format("no directory can be made in {}: {}", root,
                                   std::generic_category().message(why)),
                       why);
    }
    const int lock = Lock(path);
    if (lock >= 0) {
      return std::unique_ptr<PrivateDirectory>(
          new PrivateDirectory(std::move(path), lock));
    }
    struct stat named{};
    if (lstat(path.c_str(), &named) == 0) {
      rmdir(path.c_str());
      return MakeError(ErrorCode::kUnavailable,
                       fmt::format("{} can't be locked", path));
    }
  }
}

PrivateDirectory::~PrivateDirectory() { Remove(); }

void PrivateDirectory::Remove() {
  const std::lock_guard guard(mutex_);
  if (lock_ < 0) return;
  RemoveAll(path_);
  close(lock_);
  lock_ = -1;
}

}  // namespace yamanote::rocks
