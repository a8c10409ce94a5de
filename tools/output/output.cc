// output.cc - a file beside the target, renamed when it is complete.

#include "tools/output/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace yamanote::tools {
namespace {

tl::unexpected<Error> Refuse(std::string_view flag, const std::string& path,
                             int error) {
  std::string_view remedy = "name another file";
  if (error == ENOENT || error == ENOTDIR)
    remedy = "create its folder or name another file";
  if (error == EISDIR) remedy = "name a file, not a folder";
  if (error == EACCES || error == EPERM || error == EROFS) {
    remedy = "name a file that you may write, in a folder that you may write";
  }
  if (error == ENOSPC || error == EDQUOT)
    remedy = "free some space or name another file";
  const bool full = error == ENOSPC || error == EDQUOT || error == EIO;
  return MakeError(
      full ? ErrorCode::kResourceExhausted : ErrorCode::kInvalidArgument,
      fmt::format("{} is '{}', which can't be written: {}; {}", flag, path,
                  std::generic_category().message(error), remedy),
      error);
}

// What will be written in the end, and how.
struct Place {
  std::string path;     // Links resolved, so that a rename keeps them.
  bool direct = false;  // A device or a pipe: opened, not replaced.
};

Result<Place> FindPlace(std::string_view flag, const std::string& path) {
  struct stat status{};
  if (path.empty()) return Refuse(flag, path, ENOENT);
  if (stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT || path.ends_with('/'))
      return Refuse(flag, path, errno);
    return Place{path};
  }
  if (S_ISDIR(status.st_mode)) return Refuse(flag, path, EISDIR);
  if (access(path.c_str(), W_OK) != 0) return Refuse(flag, path, errno);
  if (!S_ISREG(status.st_mode)) return Place{path, true};
  std::error_code error;
  const std::string real = std::filesystem::canonical(path, error).string();
  if (error) return Refuse(flag, path, error.value());
  return Place{real};
}

// The unfinished file; two processes with one target don't share it.
std::string Unfinished(const Place& place) {
  return fmt::format("{}.part-{}", place.path, getpid());
}

int WriteAll(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

}  // namespace

Result<void> CheckWritable(std::string_view flag, const std::string& path) {
  const Result<Place> place = FindPlace(flag, path);
  if (!place) return tl::unexpected(place.error());
  if (place->direct) return {};
  const std::string trial = Unfinished(*place);
  const int file =
      open(trial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0) return Refuse(flag, path, errno);
  close(file);
  unlink(trial.c_str());
  return {};
}

Result<void> WriteFile(std::string_view flag, const std::string& path,
                       std::string_view text) {
  const Result<Place> place = FindPlace(flag, path);
  if (!place) return tl::unexpected(place.error());
  const std::string name = place->direct ? place->path : Unfinished(*place);
  const int flags = place->direct ? O_WRONLY : O_WRONLY | O_CREAT | O_EXCL;
  const int file = open(name.c_str(), flags | O_CLOEXEC, 0666);
  if (file < 0) return Refuse(flag, path, errno);
  int error = WriteAll(file, text);
  // An existing file keeps its permissions.
  struct stat old{};
  if (error == 0 && !place->direct && stat(place->path.c_str(), &old) == 0 &&
      fchmod(file, old.st_mode & 07777) != 0) {
    error = errno;
  }
  if (close(file) != 0 && error == 0) error = errno;
  if (place->direct)
    return error == 0 ? Result<void>() : Refuse(flag, path, error);
  if (error == 0 && rename(name.c_str(), place->path.c_str()) != 0)
    error = errno;
  if (error == 0) return {};
  unlink(name.c_str());
  return Refuse(flag, path, error);
}

bool SameFile(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return false;
  std::error_code error;
  if (std::filesystem::exists(a, error) &&
      !std::filesystem::is_regular_file(a, error)) {
    return false;  // A device or a pipe takes both.
  }
  const auto first = std::filesystem::weakly_canonical(a, error);
  return !error && first == std::filesystem::weakly_canonical(b, error) &&
         !error;
}

void OpenStandardStreams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) >= 0) continue;
    // The lowest free number is `descriptor`, as those below are open. Output
    // is opened for reading only: what is printed there is lost, and must fail.
    const int opened =
        open("/dev/null", descriptor == STDOUT_FILENO ? O_RDONLY : O_RDWR);
    if (opened != descriptor) abort();  // No /dev/null: nobody could be told.
  }
}

bool TakesOutput(int descriptor, Duration patience) {
  pollfd waited{.fd = descriptor, .events = POLLOUT, .revents = 0};
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(patience);
  int ready = 0;
  do {  // Again if the process was stopped and continued.
    ready = poll(&waited, 1, static_cast<int>(wait.count()));
  } while (ready < 0 && errno == EINTR);
  return ready != 0;
}

Result<void> FlushStandardOutput() {
  errno = 0;
  const bool lost = std::ferror(stdout) != 0;
  if (std::fflush(stdout) == 0 && !lost) return {};
  const int error = errno;
  std::clearerr(stdout);
  const ErrorCode code =
      error == ENOSPC ? ErrorCode::kResourceExhausted : ErrorCode::kClosed;
  return MakeError(
      code,
      fmt::format(
          "standard output could not be written: {}; results were lost: "
          "direct it to a file or a pipe that takes them",
          error == 0       ? std::string("an earlier write failed")
          : error == EBADF ? std::string("it is closed")
                           : std::generic_category().message(error)),
      error);
}

}  // namespace yamanote::tools
