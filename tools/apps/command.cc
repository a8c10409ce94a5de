// command.cc - asks the running yamanoted, and prints its answer.

#include "tools/apps/command.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "arbiter/abi.h"
#include "arbiter/server.h"
#include "tools/command.h"
#include "tools/config/values.h"
#include "tools/output/json.h"

namespace yamanote::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLongest = 1 << 20;

struct AppsFlags {
  std::string socket;
  bool as_json = false;
};

class Socket {
 public:
  Socket() : fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (fd >= 0) close(fd);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  const int fd;
};

// What the daemon says; ends the command if there is none.
std::string Ask(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    Fail(fmt::format("--socket has {} characters; a socket's path has {} at "
                     "most",
                     path.size(), sizeof address.sun_path - 1),
         kUsage);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const Socket peer;
  const timeval patience{.tv_sec = 5, .tv_usec = 0};
  setsockopt(peer.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(peer.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(peer.fd, reinterpret_cast<const sockaddr*>(&address),
              sizeof address) != 0) {
    const bool none = errno == ENOENT || errno == ECONNREFUSED;
    Fail(fmt::format(
        "no yamanoted answers at {} ({}); {}", path, std::strerror(errno),
        none ? "start one with `yamanoted`, or name its socket with --socket"
             : "name the socket of a running one with --socket"));
  }
  const arbiter::Header question{arbiter::kMagic, arbiter::kVersion,
                                 arbiter::Kind::kList};
  std::string answer(kLongest, '\0');
  ssize_t length = -1;
  if (send(peer.fd, &question, sizeof question, MSG_NOSIGNAL) > 0)
    length = recv(peer.fd, answer.data(), answer.size(), 0);
  arbiter::Header header{};
  if (length < static_cast<ssize_t>(sizeof header)) {
    Fail(fmt::format("yamanoted at {} does not answer ({}); is it stopped?",
                     path, std::strerror(length < 0 ? errno : ENODATA)));
  }
  answer.resize(static_cast<std::size_t>(length));
  std::memcpy(&header, answer.data(), sizeof header);
  if (header.kind == arbiter::Kind::kWelcome &&
      answer.size() == sizeof(arbiter::Welcome)) {
    arbiter::Welcome refusal;
    std::memcpy(&refusal, answer.data(), sizeof refusal);
    refusal.message[sizeof refusal.message - 1] = '\0';
    Fail(fmt::format("yamanoted at {}: {}", path, refusal.message));
  }
  if (header.kind != arbiter::Kind::kText) {
    Fail(
        fmt::format("yamanoted at {} answers something else; use a yamanote "
                    "and a yamanoted of one version",
                    path));
  }
  return answer.substr(sizeof header);
}

std::string Nanoseconds(const Json& count) {
  return FormatDuration(Duration(count.get<int64_t>()));
}

// "0:home 1:home(away) 3:wanted(revoked)", by CPU.
std::string CoresText(const Json& app) {
  std::string text;
  for (const Json& core : app["cores"]) {
    const auto state = core["state"].get<std::string>();
    text += fmt::format("{}{}:{}{}", text.empty() ? "" : " ",
                        core["cpu"].get<int>(), core["why"].get<std::string>(),
                        state == "running" ? "" : "(" + state + ")");
  }
  return text.empty() ? "none" : text;
}

std::string KindText(const Json& app) {
  if (app["best_effort"].get<bool>()) return "best effort";
  return fmt::format("{} of {}", app["guaranteed"].get<unsigned>(),
                     app["most"].get<unsigned>());
}

void PrintTable(const Json& list) {
  const auto cpus = list["cpus"].get<std::vector<int>>();
  fmt::print("yamanoted {}, mode {}: CPUs {}, {} of {} cores guaranteed\n",
             list["pid"].get<int>(), list["mode"].get<std::string>(),
             FormatCpuList(cpus), list["guaranteed"].get<unsigned>(),
             cpus.size());
  fmt::print("passes {}, mean {}, longest {}\n", list["passes"].get<uint64_t>(),
             Nanoseconds(list["pass_mean_ns"]),
             Nanoseconds(list["pass_max_ns"]));
  if (list["apps"].empty()) {
    fmt::print("no application has registered\n");
    return;
  }
  constexpr char kRow[] =
      "{:<16} {:>7} {:>6} {:<17} {:<12} {:>9} {:>9} {:>6} {}\n";
  fmt::print("\n");
  fmt::print(fmt::runtime(kRow), "NAME", "PID", "UID", "POLICY", "GUARANTEED",
             "GRANTS", "REVOKED", "FORCED", "CPUS");
  for (const Json& app : list["apps"]) {
    fmt::print(fmt::runtime(kRow), app["name"].get<std::string>(),
               app["pid"].get<int>(), app["uid"].get<unsigned>(),
               app["policy"].get<std::string>(), KindText(app),
               app["grants"].get<uint64_t>(),
               app["revocations"].get<uint64_t>(),
               app["forced_moves"].get<uint64_t>(), CoresText(app));
    const auto forgeries = app["ignored_forgeries"].get<uint64_t>();
    const auto refused = app["refused_calls"].get<uint64_t>();
    if (forgeries != 0) {
      fmt::print("{:<16} shows what cannot be: {} forgeries, ignored\n", "",
                 forgeries);
    }
    if (refused != 0) {
      fmt::print(
          "{:<16} {} calls about its threads were refused by the "
          "system\n",
          "", refused);
    }
  }
}

void Apps(const AppsFlags& flags) {
  std::string path = flags.socket;
  if (path.empty()) {
    // One's own first, then root's.
    path = arbiter::DefaultSocket();
    if (path.empty() || access(path.c_str(), F_OK) != 0)
      path = arbiter::kSystemSocket;
  }
  const std::string answer = Ask(path);
  const Json list = ParseOrderedJson(answer);
  try {
    if (list.is_discarded() || list.at("schema") != "yamanote.apps/1") {
      Fail(
          fmt::format("yamanoted at {} answers what is no yamanote.apps/1; use "
                      "a yamanote and a yamanoted of one version",
                      path));
    }
    if (flags.as_json) {
      fmt::print("{}\n", JsonText(list, 2));
    } else {
      PrintTable(list);
    }
  } catch (const Json::exception& error) {
    Fail(
        fmt::format("yamanoted at {} leaves out what is due ({}); use a "
                    "yamanote and a yamanoted of one version",
                    path, error.what()));
  }
}

}  // namespace

void AddAppsCommand(CLI::App& app) {
  CLI::App* const command = app.add_subcommand(
      "apps", "Show who holds which core, and why, where yamanoted runs");
  const auto flags = std::make_shared<AppsFlags>();
  command->add_flag("--json", flags->as_json,
                    "Print one JSON document, schema yamanote.apps/1");
  command
      ->add_option("--socket", flags->socket,
                   "The socket of the yamanoted to ask; else one's own, below "
                   "$XDG_RUNTIME_DIR, or root's in /run/yamanote")
      ->type_name("PATH");
  command->footer(
      "A core is an application's home, or was wanted by its policy, is best "
      "effort\n"
      "(nobody else wants it) or adopted (held before yamanoted was "
      "started).\n\n"
      "Examples:\n"
      "  yamanote apps\n"
      "  yamanote apps --json | jq '.apps[] | {name, cores}'\n"
      "  yamanote apps --socket /run/yamanote/arbiter.sock");
  command->callback([flags] { Apps(*flags); });
}

}  // namespace yamanote::tools
