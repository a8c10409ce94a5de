// server_process.cc - starts, watches and stops a server as a child process.

#include "tools/demo/server_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace yamanote::demo {
namespace {

constexpr size_t kErrorsShown = 4096;
constexpr size_t kLongestLine = 4096;
constexpr auto kLook = std::chrono::milliseconds(50);
constexpr auto kPatience = std::chrono::seconds(3);  // From SIGTERM to SIGKILL.

tl::unexpected<Error> SystemError(std::string what) {
  const int code = errno;
  return MakeError(ErrorCode::kInternal,
                   fmt::format("{}: {}", what, std::strerror(code)), code);
}

// A descriptor that is closed on every way out.
struct Owned {
  int fd = -1;
  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (fd >= 0) close(fd);
  }
  int Release() { return std::exchange(fd, -1); }
};

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool Accepts(uint16_t port) {
  Owned socket_fd;
  socket_fd.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  return socket_fd.fd >= 0 &&
         connect(socket_fd.fd, reinterpret_cast<const sockaddr*>(&address),
                 sizeof address) == 0;
}

// What the child does between fork and exec: only async-signal-safe calls.
// Writes errno to `failure` if the program can't be run.
[[noreturn]] void BecomeServer(char* const* argv, const cpu_set_t* cpus,
                               pid_t parent, int output, int errors,
                               int failure) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);  // It ended before the line above.
  setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (cpus != nullptr) sched_setaffinity(0, sizeof *cpus, cpus);
  const int input = open("/dev/null", O_RDONLY);
  if (input >= 0 && dup2(input, STDIN_FILENO) >= 0 &&
      dup2(output, STDOUT_FILENO) >= 0 && dup2(errors, STDERR_FILENO) >= 0) {
    execvp(argv[0], argv);
  }
  const int code = errno;
  const ssize_t written = write(failure, &code, sizeof code);
  _exit(written == sizeof code ? 126 : 127);
}

std::string DescribeEnd(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED)
    return fmt::format("ended with status {}", info.si_status);
  return fmt::format("was ended by signal {} ({})", info.si_status,
                     strsignal(info.si_status));
}

void Pause(Duration duration) {
  const timespec time{0, static_cast<long>(ToNanos(duration))};
  nanosleep(&time, nullptr);
}

}  // namespace

Result<std::unique_ptr<ServerProcess>> ServerProcess::Start(
    const ServerCommand& command) {
  Owned errors, output_read, output_write, failure_read, failure_write;
  errors.fd = memfd_create("server-errors", MFD_CLOEXEC);
  if (errors.fd < 0) return SystemError("no memory for the server's messages");
  // Appending: a shell and its children share the file without overwriting.
  if (fcntl(errors.fd, F_SETFL, O_APPEND) != 0) return SystemError("fcntl");
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    return SystemError("no pipe to the server");
  output_read.fd = ends[0];
  output_write.fd = ends[1];
  if (fcntl(output_read.fd, F_SETFL, O_NONBLOCK) != 0)
    return SystemError("fcntl");
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    return SystemError("no pipe to the server");
  failure_read.fd = ends[0];
  failure_write.fd = ends[1];

  std::vector<char*> argv;
  for (const std::string& word : command.argv)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (const int cpu : command.cpus) CPU_SET(static_cast<size_t>(cpu), &cpus);

  // A foreign server may print as it likes: that goes with its errors.
  const int child_output = command.prints_ready ? output_write.fd : errors.fd;
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return SystemError("cannot start another process");
  if (pid == 0) {
    BecomeServer(argv.data(), command.cpus.empty() ? nullptr : &cpus, parent,
                 child_output, errors.fd, failure_write.fd);
  }
  setpgid(pid, pid);  // The child does so too; whoever comes first.
  close(failure_write.Release());
  int code = 0;
  if (read(failure_read.fd, &code, sizeof code) ==
      static_cast<ssize_t>(sizeof code)) {
    waitpid(pid, nullptr, 0);
    return MakeError(
        code == ENOENT ? ErrorCode::kNotFound : ErrorCode::kInternal,
        fmt::format("cannot run '{}': {}", command.argv.front(),
                    std::strerror(code)),
        code);
  }
  return std::unique_ptr<ServerProcess>(
      new ServerProcess(command.name, pid, output_read.Release(),
                        errors.Release(), command.port, command.prints_ready));
}

ServerProcess::ServerProcess(std::string name, pid_t pid, int output,
                             int errors, uint16_t port, bool prints_ready)
    : name_(std::move(name)),
      pid_(pid),
      output_(output),
      errors_(errors),
      port_(port),
      prints_ready_(prints_ready) {}

ServerProcess::~ServerProcess() {
  Stop();
  waitpid(pid_, nullptr, 0);
  close(output_);
  close(errors_);
}

std::string ServerProcess::Stop() {
  // The group keeps its number until its leader is reaped, by the destructor, so
  // none of the signals can hit a stranger.
  kill(-pid_, SIGTERM);
  const Instant patience_ends = Clock::now() + kPatience;
  while (Ended().empty() && Clock::now() < patience_ends) {
    ReadOutput();  // Or a full pipe keeps it from ending.
    Pause(std::chrono::milliseconds(5));
  }
  ReadOutput();
  kill(-pid_, SIGKILL);  // Also what a shell has left behind.
  return last_line_;
}

std::string ServerProcess::Ended() {
  siginfo_t info{};
  const bool ended = waitid(P_PID, static_cast<id_t>(pid_), &info,
                            WEXITED | WNOHANG | WNOWAIT) == 0 &&
                     info.si_pid == pid_;
  return ended ? DescribeEnd(info) : "";
}

void ServerProcess::ReadOutput() {
  std::array<char, 1024> bytes;
  for (;;) {
    const ssize_t count = read(output_, bytes.data(), bytes.size());
    if (count <= 0) return;
    for (const char c :
         std::string_view(bytes.data(), static_cast<size_t>(count))) {
      if (c != '\n') {
        if (line_.size() < kLongestLine) line_ += c;
        continue;
      }
      if (!ready_line_.empty()) {
        last_line_ = line_;
      } else if (line_.starts_with("ready")) {
        ready_line_ = line_;
      }
      line_.clear();
    }
  }
}

Result<void> ServerProcess::WaitReady(Duration timeout,
                                      const std::function<bool()>& cancelled) {
  const Instant deadline = Clock::now() + timeout;
  for (;;) {
    if (prints_ready_) ReadOutput();
    if (prints_ready_ ? !ready_line_.empty() : Accepts(port_)) return {};
    if (const std::string end = Ended(); !end.empty()) {
      return MakeError(ErrorCode::kUnavailable,
                       fmt::format("{} {} before it was ready", name_, end));
    }
    if (cancelled()) return MakeError(ErrorCode::kCancelled, "interrupted");
    if (Clock::now() >= deadline) {
      return MakeError(
          ErrorCode::kDeadlineExceeded,
          fmt::format(
              "{} was not ready after {} s: it {}", name_,
              ToNanos(timeout) / 1'000'000'000,
              prints_ready_
                  ? "printed no line that begins with 'ready'"
                  : fmt::format("does not accept on 127.0.0.1:{}", port_)));
    }
    if (prints_ready_) {
      pollfd wait{output_, POLLIN, 0};
      // A closed pipe is readable at once; the pause keeps the loop from
      // spinning.
      if (poll(&wait, 1, static_cast<int>(kLook.count())) > 0 &&
          (wait.revents & POLLHUP) != 0)
        Pause(kLook);
    } else {
      Pause(kLook);
    }
  }
}

std::string ServerProcess::Errors() const {
  const off_t size = lseek(errors_, 0, SEEK_END);
  if (size <= 0) return "";
  const auto wanted = std::min<size_t>(static_cast<size_t>(size), kErrorsShown);
  std::string text(wanted, '\0');
  const ssize_t count =
      pread(errors_, text.data(), wanted, size - static_cast<off_t>(wanted));
  text.resize(count > 0 ? static_cast<size_t>(count) : 0);
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

Result<uint16_t> FindFreePort() {
  Owned socket_fd;
  socket_fd.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  if (socket_fd.fd < 0 ||
      bind(socket_fd.fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(socket_fd.fd, reinterpret_cast<sockaddr*>(&address), &size) !=
          0) {
    return SystemError("no free TCP port on 127.0.0.1");
  }
  return ntohs(address.sin_port);
}

struct Interrupts::Mask {
  sigset_t held;
  sigset_t before;
};

Interrupts::Interrupts() : mask_(std::make_unique<Mask>()) {
  sigemptyset(&mask_->held);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    sigaddset(&mask_->held, signal);
  pthread_sigmask(SIG_BLOCK, &mask_->held, &mask_->before);
}

Interrupts::~Interrupts() {
  const timespec now{0, 0};
  while (sigtimedwait(&mask_->held, nullptr, &now) > 0) {
  }
  pthread_sigmask(SIG_SETMASK, &mask_->before, nullptr);
}

bool Interrupts::pending() const {
  sigset_t waiting;
  sigpending(&waiting);
  return sigismember(&waiting, SIGINT) == 1 ||
         sigismember(&waiting, SIGTERM) == 1 ||
         sigismember(&waiting, SIGHUP) == 1;
}

}  // namespace yamanote::demo
