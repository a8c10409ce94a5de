// main.cc - yamanoted: hands cores out to applications.
//
//   configuration -> socket -> "ready" -> passes, until SIGTERM, SIGINT or SIGHUP
//
// Exit status: as the `yamanote` command's (tools/command.h).

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>

#include "arbiter/daemon.h"
#include "tools/command.h"
#include "tools/completion/tree.h"
#include "tools/config/flags.h"
#include "tools/config/values.h"
#include "tools/daemon/list.h"
#include "tools/daemon/plan.h"
#include "tools/help/layout.h"
#include "tools/output/output.h"
#include "tools/version/build_info.h"

namespace yamanote::tools {
namespace {

constexpr char kDescription[] =
    "Hands this machine's cores out to applications that run Yamanote, every "
    "few microseconds";

constexpr char kFooter[] =
    "Prints a line beginning with `ready` once applications can register. "
    "SIGINT, SIGTERM\n"
    "and SIGHUP end it; applications keep the cores that they hold, and "
    "register again\n"
    "with the next one. `yamanote apps` shows who holds what, and why.\n"
    "Values come from defaults, the file, the flags; the later one wins.\n"
    "Examples:\n"
    "  yamanoted\n"
    "  yamanoted --cpus 2-7 --users 'alice:guaranteed=2,burst=4,apps=3'\n"
    "  yamanoted --mode polling --poll-cpu 1 --cpus 2-15\n"
    "  yamanoted --config /etc/yamanote/yamanoted.toml";

void Tell(const std::string& text) {
  std::fprintf(stderr, "yamanoted: %s\n", text.c_str());
}

// The folder of a default path is ours to make.
Result<void> MakeFolder(const std::string& socket) {
  if (socket != arbiter::DefaultSocket()) return {};
  const std::string folder = socket.substr(0, socket.rfind('/'));
  if (mkdir(folder.c_str(), geteuid() == 0 ? 0755 : 0700) == 0 ||
      errno == EEXIST)
    return {};
  return MakeError(
      ErrorCode::kPermissionDenied,
      fmt::format("{} can't be made ({}); name another path with --socket",
                  folder, std::strerror(errno)),
      errno);
}

// What service managers wait for; see sd_notify(3). Nobody asks: nothing happens.
void Notify(const char* state) {
  const char* const name = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name == nullptr || (name[0] != '/' && name[0] != '@') ||
      std::strlen(name) >= sizeof address.sun_path)
    return;
  std::strcpy(address.sun_path, name);
  if (name[0] == '@') address.sun_path[0] = '\0';
  const int socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket_fd < 0) return;
  static_cast<void>(
      sendto(socket_fd, state, std::strlen(state), MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&address),
             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) +
                                    std::strlen(name))));
  close(socket_fd);
}

// Blocked, and readable from what is returned.
int WatchedSignals() {
  sigset_t set;
  sigemptyset(&set);
  struct sigaction hangup{};
  sigaction(SIGHUP, nullptr, &hangup);
  for (const int number : {SIGINT, SIGTERM}) sigaddset(&set, number);
  // Started by nohup it outlives the terminal.
  if (hangup.sa_handler != SIG_IGN) sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int Run(const ConfigFlags& flags) {
  const Result<Config> config = LoadConfig(flags, Use::kArbitrate);
  if (!config) {
    Tell(config.error().message);
    return kUsage;
  }
  Result<arbiter::DaemonOptions> options = PlanDaemon(*config);
  if (!options) {
    Tell(options.error().message);
    return kUsage;
  }
  const std::string socket = options->server.path;
  if (const Result<void> made = MakeFolder(socket); !made) {
    Tell(made.error().message);
    return kFailed;
  }
  // Four for each connection.
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  const arbiter::DaemonOptions::Mode mode = options->mode;
  options->server.list = [mode](const arbiter::Status& status) {
    return ListJson(status, mode);
  };
  options->end = WatchedSignals();
  const std::string cpus = FormatCpuList(options->arbiter.cpus);
  arbiter::Linux kernel;
  if (!kernel.Restores()) {
    Tell(
        "note: without CAP_SYS_NICE threads cannot be raised again, so guests "
        "on others' home cores keep their priority until they have left");
  }
  Result<std::unique_ptr<arbiter::Daemon>> daemon =
      arbiter::Daemon::Create(std::move(*options), kernel);
  if (!daemon) {
    Tell(daemon.error().message);
    return daemon.error().code == ErrorCode::kInvalidArgument ? kUsage
                                                              : kFailed;
  }
  fmt::print("ready yamanoted socket {} cpus {} mode {}\n", socket, cpus,
             arbiter::ToString(mode));
  static_cast<void>(FlushStandardOutput());
  Notify("READY=1");
  (*daemon)->Run();
  Notify("STOPPING=1");
  return kOk;
}

int Main(int argc, char** argv) {
  CLI::App app(kDescription, "yamanoted");
  app.formatter(std::make_shared<HelpLayout>(HelpWidth()));
  app.set_help_flag("-h,--help", "Explain this command and exit");
  app.set_version_flag("-V,--version",
                       fmt::format("yamanoted {} ({})", GetBuildInfo().version,
                                   GetBuildInfo().revision),
                       "Print the version and exit");
  app.footer(kFooter);
  const auto flags = std::make_shared<ConfigFlags>();
  AddDaemonFlags(app, flags);
  bool man = false;
  // Hidden, both: the build calls them.
  app.add_flag("--man", man)->group("");
  std::string shell;
  app.add_option("--completion", shell)
      ->group("")
      ->check(OneOf({"bash", "zsh", "fish"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    const std::vector<std::string> unknown = app.remaining();
    if (unknown.empty()) {
      Tell(error.what());
    } else {
      std::vector<std::string> names;
      for (const CLI::Option* option : app.get_options()) {
        if (option->get_group().empty()) continue;  // Hidden.
        for (const std::string& name : option->get_lnames())
          names.push_back("--" + name);
      }
      const std::string word = unknown[0].substr(0, unknown[0].find('='));
      const std::string_view meant = ClosestName(
          word, std::vector<std::string_view>(names.begin(), names.end()));
      Tell(fmt::format("`yamanoted` does not know '{}'; {}", unknown[0],
                       meant.empty() ? "leave it out"
                                     : fmt::format("did you mean {}?", meant)));
    }
    std::fputs("Run `yamanoted --help` for what is accepted.\n", stderr);
    return kUsage;
  }
  if (man) {
    fmt::print("{}", DaemonManPage(ReadTree(app),
                                   std::string(GetBuildInfo().version)));
    return kOk;
  }
  if (!shell.empty()) {
    fmt::print("{}", CompletionFor(shell, ReadTree(app)));
    return kOk;
  }
  return Run(*flags);
}

}  // namespace
}  // namespace yamanote::tools

int main(int argc, char** argv) {
  using namespace yamanote::tools;
  OpenStandardStreams();
  try {
    return Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr,
                 "yamanoted: unexpected failure: %s; please report it\n",
                 error.what());
    return kFailed;
  }
}
