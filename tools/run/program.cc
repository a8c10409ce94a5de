// program.cc - fork, wait, exec.

#include "tools/run/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace yamanote::tools {
namespace {

[[noreturn]] void Become(const std::vector<std::string>& arguments,
                         const sigset_t& mask,
                         const std::function<void()>& prepare, int go,
                         int report) {
  char byte = 0;
  if (read(go, &byte, 1) != 1) _exit(127);  // Nobody wants it any more.
  if (prepare) prepare();
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  std::vector<char*> argv;
  for (const std::string& one : arguments)
    argv.push_back(const_cast<char*>(one.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  const int error = errno;
  static_cast<void>(!write(report, &error, sizeof error));
  _exit(127);
}

}  // namespace

Result<Program> Program::Prepare(std::vector<std::string> arguments,
                                 const sigset_t& mask,
                                 std::function<void()> prepare) {
  std::array<int, 2> go{};
  std::array<int, 2> report{};
  // Not a pipe: writing to one whose reader was killed would end this process.
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go.data()) != 0)
    return MakeError(ErrorCode::kResourceExhausted, "no pipe", errno);
  if (pipe2(report.data(), O_CLOEXEC) != 0) {
    const int error = errno;
    close(go[0]);
    close(go[1]);
    return MakeError(ErrorCode::kResourceExhausted, "no pipe", error);
  }
  const pid_t child = fork();
  if (child == 0) {
    close(go[1]);
    close(report[0]);
    Become(arguments, mask, prepare, go[0], report[1]);
  }
  const int error = errno;
  close(go[0]);
  close(report[1]);
  if (child < 0) {
    close(go[1]);
    close(report[0]);
    return MakeError(
        ErrorCode::kResourceExhausted,
        fmt::format("can't start a process: {}", std::strerror(error)), error);
  }
  Program program;
  program.pid_ = child;
  program.go_ = go[1];
  program.report_ = report[0];
  program.name_ = arguments[0];
  return program;
}

Program::Program(Program&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      go_(std::exchange(other.go_, -1)),
      report_(std::exchange(other.report_, -1)),
      name_(std::move(other.name_)) {}

Program::~Program() {
  if (report_ >= 0) close(report_);
  if (go_ < 0) return;
  close(go_);
  waitpid(pid_, nullptr, 0);
}

Result<void> Program::Go() {
  send(go_, "", 1, MSG_NOSIGNAL);
  close(std::exchange(go_, -1));
  int error = 0;
  const bool failed = read(report_, &error, sizeof error) > 0;
  close(std::exchange(report_, -1));
  if (!failed) return {};
  waitpid(pid_, nullptr, 0);
  return MakeError(
      ErrorCode::kNotFound,
      fmt::format("can't run '{}': {}", name_, std::strerror(error)), error);
}

int ExitStatusOf(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status)
                                : 128 + WTERMSIG(wait_status);
}

}  // namespace yamanote::tools
