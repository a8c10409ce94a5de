// program.h - starts somebody else's program, in two steps, and hands signals on.

#pragma once

#include <signal.h>
#include <sys/types.h>

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "yamanote/result.h"

namespace yamanote::tools {

// Those that end a program, and are handed on to the one that is run.
inline constexpr std::array kHandedOn = {SIGTERM, SIGINT,  SIGHUP,
                                         SIGQUIT, SIGUSR1, SIGUSR2};

class Program {
 public:
  // A child process, which waits for Go(). It has `mask` blocked, and calls `prepare` just
  // before it becomes the program. kResourceExhausted: no process, no pipe.
  static Result<Program> Prepare(std::vector<std::string> arguments,
                                 const sigset_t& mask,
                                 std::function<void()> prepare);
  // One that was prepared and not started ends.
  ~Program();
  Program(Program&& other) noexcept;
  Program& operator=(Program&&) = delete;

  // Lets it become the program. kNotFound: it can't; it has ended then.
  Result<void> Go();

  pid_t pid() const { return pid_; }

 private:
  Program() = default;

  pid_t pid_ = -1;
  int go_ = -1;      // Written: become the program. Closed: end.
  int report_ = -1;  // Read: an errno. Closed: it has become the program.
  std::string name_;
};

// As a shell says it: the status, or 128 + N if a signal N ended it.
int ExitStatusOf(int wait_status);

}  // namespace yamanote::tools
