// control.cc - sockets and locks in one folder.

#include "tools/native/control.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/output/json.h"

namespace yamanote::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kLongest = 64 * 1024;
constexpr std::size_t kLongestName = 48;
constexpr std::string_view kSocketSuffix = ".sock";

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : fd(descriptor) {}
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  const int fd;
};

int Socket() {
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const timeval patience{.tv_sec = 2, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  return fd;
}

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("{} has {} characters; a socket's path has {} at most: "
                    "set YAMANOTE_NATIVE to a shorter folder",
                    path, path.size(), sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

std::string PathOf(const std::string& folder, const std::string& name) {
  return folder + "/" + name + std::string(kSocketSuffix);
}

// A connection, or -1 and errno.
int Connect(const std::string& path) {
  const Result<sockaddr_un> address = AddressOf(path);
  if (!address) {
    errno = ENAMETOOLONG;
    return -1;
  }
  const int fd = Socket();
  if (fd < 0) return -1;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&*address),
              sizeof *address) == 0)
    return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

void SendWith(int peer, std::string text, int descriptor) {
  iovec part{.iov_base = text.data(), .iov_len = text.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptor)] = {};
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  }
  sendmsg(peer, &message, MSG_NOSIGNAL);
}

std::string SystemError(const std::string& what) {
  return fmt::format("{}: {}", what, std::strerror(errno));
}

}  // namespace

Result<std::string> ControlFolder() {
  if (const char* const folder = std::getenv("YAMANOTE_NATIVE");
      folder != nullptr && *folder != '\0')
    return std::string(folder);
  if (geteuid() == 0) return std::string("/run/yamanote/native");
  if (const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
      runtime != nullptr && *runtime != '\0')
    return std::string(runtime) + "/yamanote/native";
  return MakeError(ErrorCode::kNotFound,
                   "there is no folder for enclaves' sockets: XDG_RUNTIME_DIR "
                   "is not set; set it, or YAMANOTE_NATIVE, to one of yours");
}

Result<std::string> ControlPath(const std::string& name) {
  const Result<std::string> folder = ControlFolder();
  if (!folder) return tl::unexpected(folder.error());
  return PathOf(std::filesystem::absolute(*folder), name);
}

Result<void> CheckEnclaveName(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  if (!name.empty() && name.size() <= kLongestName && name[0] != '.' &&
      std::ranges::all_of(name, fits))
    return {};
  return MakeError(
      ErrorCode::kInvalidArgument,
      fmt::format("the enclave's name is '{}'; it must be 1 .. {} letters, "
                  "digits, '-', '_' or '.', and not begin with '.': set "
                  "--name",
                  name, kLongestName));
}

std::vector<std::string> EnclaveNames(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code none;
  for (fs::directory_iterator entry(folder, none), end; !none && entry != end;
       entry.increment(none)) {
    const std::string file = entry->path().filename();
    if (!file.ends_with(kSocketSuffix)) continue;
    const Descriptor peer(Connect(entry->path()));
    if (peer.fd < 0) continue;
    names.push_back(file.substr(0, file.size() - kSocketSuffix.size()));
  }
  std::ranges::sort(names);
  return names;
}

Result<Json> AskEnclave(const std::string& folder, const std::string& name,
                        const Json& question) {
  if (Result<void> fits = CheckEnclaveName(name); !fits)
    return tl::unexpected(fits.error());
  const std::string path = PathOf(folder, name);
  const Descriptor peer(Connect(path));
  if (peer.fd < 0) {
    const bool none = errno == ENOENT || errno == ECONNREFUSED;
    return MakeError(
        none ? ErrorCode::kNotFound : ErrorCode::kUnavailable,
        fmt::format(
            "no enclave '{}' answers at {} ({}); `yamanote native list` "
            "shows those that there are",
            name, path, std::strerror(errno)));
  }
  const std::string text = JsonText(question, -1);
  std::string answer(kLongest, '\0');
  ssize_t length = -1;
  if (send(peer.fd, text.data(), text.size(), MSG_NOSIGNAL) > 0)
    length = recv(peer.fd, answer.data(), answer.size(), 0);
  if (length <= 0) {
    return MakeError(
        ErrorCode::kUnavailable,
        fmt::format("enclave '{}' does not answer ({}); only its "
                    "user and root are answered, and its process "
                    "may be stopped",
                    name, std::strerror(length < 0 ? errno : EACCES)));
  }
  answer.resize(static_cast<std::size_t>(length));
  Json json = ParseOrderedJson(answer);
  if (!json.is_object()) {
    return MakeError(ErrorCode::kInternal,
                     fmt::format("enclave '{}' answers something else; use a "
                                 "yamanote of its version",
                                 name));
  }
  if (json.contains("error")) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("enclave '{}': {}", name,
                                 json["error"].get<std::string>()));
  }
  return json;
}

Result<Control> Control::Open(const std::string& folder,
                              const std::string& name,
                              const std::vector<unsigned>& cpus) {
  if (Result<void> fits = CheckEnclaveName(name); !fits)
    return tl::unexpected(fits.error());
  Control control;
  const auto denied = [](std::string message) {
    const int error = errno;
    return MakeError(ErrorCode::kPermissionDenied, std::move(message), error);
  };
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) {
    return MakeError(
        ErrorCode::kPermissionDenied,
        fmt::format("can't make the folder {}: {}; set YAMANOTE_NATIVE to one "
                    "of yours",
                    folder, failed.message()));
  }
  for (const unsigned cpu : cpus) {
    const std::string path = fmt::format("{}/cpu-{}.lock", folder, cpu);
    const int lock =
        open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0) return denied(SystemError(path));
    control.locks_.push_back(lock);
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("CPU {} is another enclave's; choose others with "
                      "--cpus (`yamanote native list` shows whose are which)",
                      cpu));
    }
  }
  const std::string path = PathOf(folder, name);
  if (const Descriptor other(Connect(path)); other.fd >= 0) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("there is an enclave '{}' already; choose "
                                 "another --name",
                                 name));
  } else if (errno != ENOENT && errno != ECONNREFUSED) {
    return MakeError(ErrorCode::kUnavailable,
                     fmt::format("whether there is an enclave '{}' already is "
                                 "not known ({}: {}); choose another --name",
                                 name, path, std::strerror(errno)));
  }
  Result<sockaddr_un> address = AddressOf(path);
  if (!address) return tl::unexpected(address.error());
  unlink(path.c_str());  // Of one that was killed.
  control.listener_ =
      socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (control.listener_ < 0 ||
      bind(control.listener_, reinterpret_cast<const sockaddr*>(&*address),
           sizeof *address) != 0 ||
      chmod(path.c_str(), 0600) != 0 || listen(control.listener_, 16) != 0)
    return denied(SystemError(path));
  control.path_ = path;
  return control;
}

Control::Control(Control&& other) noexcept
    : listener_(std::exchange(other.listener_, -1)),
      path_(std::exchange(other.path_, {})),
      locks_(std::exchange(other.locks_, {})) {}

Control::~Control() {
  if (!path_.empty()) unlink(path_.c_str());
  if (listener_ >= 0) close(listener_);
  for (const int lock : locks_) close(lock);
}

void Control::Answer(
    const std::function<Said(const Json& question, uid_t uid)>& answer) {
  const Descriptor peer(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC));
  if (peer.fd < 0) return;
  ucred who{};
  socklen_t size = sizeof who;
  if (getsockopt(peer.fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 ||
      (who.uid != 0 && who.uid != geteuid()))
    return;
  const timeval patience{.tv_sec = 0, .tv_usec = 50'000};
  setsockopt(peer.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(peer.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  std::string text(kLongest, '\0');
  const ssize_t length = recv(peer.fd, text.data(), text.size(), 0);
  if (length <= 0) return;  // Who only looks whether somebody is there.
  text.resize(static_cast<std::size_t>(length));
  const Json question = ParseOrderedJson(text);
  const Said said =
      question.is_object() && question.contains("ask") &&
              question["ask"].is_string()
          ? answer(question, who.uid)
          : Said{Json{{"error", "the question is no object with 'ask'"}}};
  SendWith(peer.fd, JsonText(said.json, -1), said.descriptor);
}

}  // namespace yamanote::tools
