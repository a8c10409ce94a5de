// enclave.cc - agents, a program, and those who ask about both.

#include "tools/native/enclave.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>
#include <utility>

#include "dispatch/locality.h"
#include "native/agents.h"
#include "native/driver.h"
#include "native/hint_table.h"
#include "native/joining.h"
#include "tools/config/config.h"
#include "tools/config/values.h"
#include "tools/native/control.h"
#include "tools/native/process.h"
#include "tools/run/program.h"

namespace yamanote::tools {
namespace {

using Json = nlohmann::ordered_json;
using namespace std::chrono_literals;

// Where a policy has slices and none was said. A commit is several system calls, some
// 20 us together: shorter ones would be for them.
constexpr Duration kUsualSlice = 1ms;
constexpr Duration kLeastSlice = 50us;
constexpr Duration kMostSlice = 10s;
// How often it looks whether any thread is left.
constexpr int kLookMilliseconds = 100;
// Of the threads that could not join, in an answer.
constexpr std::size_t kMostRefusals = 100;

// Blocks the signals that it takes, while it is there.
class Signals {
 public:
  Signals() {
    sigset_t ours;
    sigemptyset(&ours);
    for (const int number : kHandedOn) sigaddset(&ours, number);
    sigaddset(&ours, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &ours, &before_);
    // Ignored, as it may have been inherited, a child that has ended could not be told.
    signal(SIGCHLD, SIG_DFL);
    descriptor_ = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~Signals() {
    if (descriptor_ >= 0) close(descriptor_);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  int descriptor() const { return descriptor_; }
  const sigset_t& before() const { return before_; }
  // The next one that has come; 0: none.
  int Take() const {
    signalfd_siginfo info{};
    const bool came = read(descriptor_, &info, sizeof info) == sizeof info;
    return came ? static_cast<int>(info.ssi_signo) : 0;
  }

 private:
  sigset_t before_{};
  int descriptor_ = -1;
};

// On a standard error that may be a pipe that nobody reads any more.
void Say(const std::string& line) {
  std::fputs(fmt::format("yamanote: {}\n", line).c_str(), stderr);
}

class Enclave {
 public:
  explicit Enclave(const EnclaveSettings& settings) : settings_(settings) {}

  Result<void> Start() {
    auto control =
        Control::Open(*ControlFolder(), settings_.name, settings_.cpus);
    if (!control) return tl::unexpected(control.error());
    control_.emplace(*std::move(control));
    auto made = native::MakeBackend(settings_.backend,
                                    {.cpus = settings_.cpus,
                                     .max_threads = settings_.max_threads,
                                     .watchdog = settings_.watchdog});
    if (!made) return tl::unexpected(made.error());
    backend_ = std::move(made->backend);
    backend_name_ = backend_->name();
    SayBackend(made->why_not_scx);
    auto hints = native::HintTable::Create(settings_.max_threads);
    if (!hints) return tl::unexpected(hints.error());
    hints_.emplace(*std::move(hints));
    return StartAgents(settings_.scheduling);
  }

  // Says who could not join. kPermissionDenied: nobody could.
  Result<void> Add(pid_t pid) {
    const auto hint = NativeHint(settings_.scheduling.classes,
                                 settings_.program_class, 0, "");
    if (!hint) return tl::unexpected(hint.error());
    if (hint->request_class != 0)
      if (Result<void> done = HintProcess(pid, *hint); !done) return done;
    const auto joined = backend_->Add(pid);
    if (!joined) return tl::unexpected(joined.error());
    if (joined->threads == 0 && !joined->refused.empty()) {
      return MakeError(ErrorCode::kPermissionDenied,
                       fmt::format("process {} cannot be scheduled: {}", pid,
                                   joined->refused.front()));
    }
    for (const std::string& line : joined->refused) Say(line);
    return {};
  }

  const Control& control() const { return *control_; }
  int ended_descriptor() const {
    return driver_ == nullptr ? -1 : driver_->ended_descriptor();
  }
  uint32_t threads() const {
    return backend_ == nullptr ? 0 : backend_->threads();
  }
  bool alive() const { return backend_ != nullptr; }
  bool gave_up() const { return gave_up_; }

  // All threads go back to Linux's scheduler.
  void Destroy() {
    driver_.reset();
    backend_.reset();
  }
  // The agents were ended by who watches them.
  // First of all they get their classes back: who reads the message may be gone.
  void GiveUp() {
    const std::string why = driver_->Ended();
    gave_up_ = true;
    Destroy();
    Say(
        fmt::format("enclave '{}' has ended: {}. Its threads go on under "
                    "Linux's own scheduler",
                    settings_.name, why));
  }

  void Answer() {
    control_->Answer([this](const Json& question, uid_t uid) -> Control::Said {
      const auto ask = question["ask"].get<std::string>();
      if (!alive() && ask != "stats")
        return {Json{{"error", "it has ended already"}}};
      if (ask == "stats") return {Statistics()};
      if (ask == "destroy") {
        Destroy();
        return {Json{{"done", true}}};
      }
      if (ask == "attach") return {Attach(question, uid)};
      if (ask == "upgrade") return {Upgrade(question)};
      if (ask == "hint") return {HintFor(question)};
      // Of a program, which may say what it likes of its enclave's threads.
      if (ask == "hints") return {Json{{"done", true}}, hints_->descriptor()};
      return {Json{{"error", fmt::format("it does not know '{}'", ask)}}};
    });
  }

 private:
  // The first line of the reason is enough: `--backend scx` says all.
  void SayBackend(const std::string& why_not_scx) const {
    const std::string why = why_not_scx.substr(0, why_not_scx.find('\n'));
    Say(fmt::format("enclave '{}' is scheduled by back-end {}{}",
                    settings_.name, backend_name_,
                    why.empty() ? "" : fmt::format(", not scx: {}", why)));
  }

  Result<void> StartAgents(const Scheduling& scheduling) {
    native::AgentOptions options;
    options.scheduling = scheduling;
    options.own_core = settings_.own_core;
    options.hints = &*hints_;
    // Checked: the order exists.
    options.locality = dispatch::LocalityFor(
        *FindPolicy(scheduling.order),
        std::vector<int>(settings_.cpus.begin(), settings_.cpus.end()));
    auto driver =
        native::Driver::Start(backend_->kernel(), backend_->host(), options);
    if (!driver) return tl::unexpected(driver.error());
    driver_ = *std::move(driver);
    settings_.scheduling = scheduling;
    return {};
  }

  Json Statistics() const {
    const Scheduling& scheduling = settings_.scheduling;
    Json json = {
        {"schema", "yamanote.native/1"},
        {"name", settings_.name},
        {"pid", getpid()},
        {"alive", alive()},
        {"backend", backend_name_},
        {"cpus", settings_.cpus},
        {"policy", scheduling.order},
        {"placement", ToString(scheduling.placement)},
        {"slice_ns", scheduling.slice.least == kNoPreemption
                         ? Json(nullptr)
                         : Json(scheduling.slice.least.count())},
        {"own_core", settings_.own_core},
        {"classes", ClassesJson()},
        {"upgrades", upgrades_},
    };
    if (!alive()) return json;
    const native::Backend::Counts counts = backend_->counts();
    json["guardian"] = backend_->guardian();
    json["threads"] = backend_->threads();
    json["passes"] = passes_ + driver_->passes();
    json["messages"] = counts.messages;
    json["lost_messages"] = counts.lost_messages;
    Json& commits = json["commits"];
    commits = Json::object();
    for (int i = native::kCommitted; i < native::kCommitResults; ++i) {
      commits[std::string(ToString(static_cast<native::CommitResult>(i)))] =
          counts.results[i];
    }
    return json;
  }

  Json Attach(const Json& question, uid_t uid) {
    if (!question.contains("pid") || !question["pid"].is_number_integer())
      return {{"error", "no pid is named"}};
    const auto number = question["pid"].get<int64_t>();
    if (number < 1 || number > std::numeric_limits<pid_t>::max()) {
      return {{"error", fmt::format("pid is {}; it must be 1 .. {}", number,
                                    std::numeric_limits<pid_t>::max())}};
    }
    const auto pid = static_cast<pid_t>(number);
    // This process may do more than who asks.
    if (!MayAttach(uid, pid)) {
      return {{"error", fmt::format("process {} is not of user {}, who asks; "
                                    "only root may attach others'",
                                    pid, uid)}};
    }
    const Result<Hint> hint = HintOf(question);
    if (!hint) return {{"error", hint.error().message}};
    // Before it joins, so that its first message finds it.
    if (*hint != Hint()) {
      if (const Result<void> done = HintProcess(pid, *hint); !done)
        return {{"error", done.error().message}};
    }
    auto joined = backend_->Add(pid);
    ForgetStrangers(pid);
    if (!joined) return {{"error", joined.error().message}};
    if (joined->refused.size() > kMostRefusals)
      joined->refused.resize(kMostRefusals);
    return {{"threads", joined->threads}, {"refused", joined->refused}};
  }

  Json ClassesJson() const {
    Json json = Json::array();
    for (const ClassOptions& one : settings_.scheduling.classes) {
      json.push_back({{"name", one.name},
                      {"slo_ns", one.slo.count()},
                      {"background", one.background},
                      {"budget_ns", one.budget.count()},
                      {"period_ns", one.period.count()}});
    }
    return json;
  }

  Result<Hint> HintOf(const Json& question) const {
    const auto text = [&](const char* key) {
      return question.contains(key) && question[key].is_string()
                 ? question[key].get<std::string>()
                 : std::string();
    };
    const int64_t weight =
        question.contains("weight") && question["weight"].is_number_integer()
            ? question["weight"].get<int64_t>()
            : 0;
    return NativeHint(settings_.scheduling.classes, text("class"), weight,
                      text("due"));
  }

  // For all threads that `pid` has now; those that they make have it from them.
  Result<void> HintProcess(pid_t pid, const Hint& hint) {
    const std::vector<pid_t> threads = native::ThreadsOf(pid);
    if (threads.empty()) {
      return MakeError(ErrorCode::kNotFound,
                       fmt::format("there is no process {}", pid));
    }
    for (const pid_t tid : threads)
      if (Result<void> done = hints_->Write(tid, hint); !done) return done;
    return {};
  }

  // Hints of those threads of `pid` that have not joined would stay for ever.
  void ForgetStrangers(pid_t pid) {
    const std::unordered_set<pid_t> ours = Members();
    for (const pid_t tid : native::ThreadsOf(pid))
      if (!ours.contains(tid)) hints_->Forget(tid);
  }

  std::unordered_set<pid_t> Members() const {
    std::unordered_set<pid_t> tids;
    backend_->kernel().ForEachThread(
        [&](const native::StatusWord& word) { tids.insert(word.tid); });
    return tids;
  }

  Json HintFor(const Json& question) {
    const auto number = [&](const char* key) -> int64_t {
      return question.contains(key) && question[key].is_number_integer()
                 ? question[key].get<int64_t>()
                 : 0;
    };
    const int64_t pid = number("pid");
    const int64_t tid = number("tid");
    const int64_t which = pid != 0 ? pid : tid;
    if ((pid != 0) == (tid != 0) || which < 1 ||
        which > std::numeric_limits<pid_t>::max()) {
      return {
          {"error", fmt::format("pid is {} and tid {}; one of them must be "
                                "1 .. {}",
                                pid, tid, std::numeric_limits<pid_t>::max())}};
    }
    const auto target = static_cast<pid_t>(which);
    const Result<Hint> hint = HintOf(question);
    if (!hint) return {{"error", hint.error().message}};
    const std::unordered_set<pid_t> ours = Members();
    unsigned threads = 0;
    for (const pid_t one :
         pid != 0 ? native::ThreadsOf(target) : std::vector<pid_t>{target}) {
      if (!ours.contains(one)) continue;
      if (const Result<void> done = hints_->Write(one, *hint); !done)
        return {{"error", done.error().message}};
      ++threads;
    }
    if (threads == 0) {
      return {{"error",
               fmt::format("no thread of {} {} is in the enclave; take it in "
                           "with `yamanote native attach`",
                           pid != 0 ? "process" : "number", target)}};
    }
    return {{"threads", threads}};
  }

  // Other agents take over; threads run on meanwhile.
  Json Upgrade(const Json& question) {
    const auto text = [&](const char* key) {
      return question.contains(key) && question[key].is_string()
                 ? question[key].get<std::string>()
                 : std::string();
    };
    const std::string policy = text("policy");
    std::string placement = text("placement");
    if (policy.empty() && placement.empty())
      placement = ToString(settings_.scheduling.placement);
    const Result<Scheduling> next =
        NativeScheduling(policy.empty() ? settings_.scheduling.order : policy,
                         text("slice"), placement, settings_.scheduling.classes,
                         static_cast<unsigned>(settings_.cpus.size()));
    if (!next) return {{"error", next.error().message}};
    const Scheduling before = settings_.scheduling;
    passes_ += driver_->passes();
    driver_.reset();
    if (const Result<void> started = StartAgents(*next); !started) {
      if (!StartAgents(before)) Destroy();
      return {{"error", started.error().message}};
    }
    ++upgrades_;
    return Statistics();
  }

  EnclaveSettings settings_;
  std::optional<Control> control_;
  std::unique_ptr<native::Backend> backend_;
  std::string backend_name_;
  std::optional<native::HintTable> hints_;
  std::unique_ptr<native::Driver> driver_;
  unsigned upgrades_ = 0;
  bool gave_up_ = false;
  uint64_t passes_ = 0;  // Of agents before the last upgrade.
};

// Until the program has ended, or, without one, no thread is left.
int Serve(Enclave& enclave, const Signals& signals, pid_t child) {
  for (;;) {
    pollfd polled[] = {
        {.fd = signals.descriptor(), .events = POLLIN, .revents = 0},
        {.fd = enclave.control().descriptor(), .events = POLLIN, .revents = 0},
        {.fd = enclave.ended_descriptor(), .events = POLLIN, .revents = 0}};
    poll(polled, std::size(polled), kLookMilliseconds);
    while (const int number = signals.Take()) {
      if (number == SIGCHLD) continue;
      if (child < 0) return 0;
      kill(child, number);
    }
    if (polled[1].revents != 0) enclave.Answer();
    if (polled[2].revents != 0 && enclave.alive()) enclave.GiveUp();
    int status = 0;
    if (child >= 0 && waitpid(child, &status, WNOHANG) == child)
      return ExitStatusOf(status);
    if (child < 0 && !enclave.alive()) return enclave.gave_up() ? 1 : 0;
    if (child < 0 && enclave.threads() == 0) return 0;
  }
}

}  // namespace

Result<Scheduling> NativeScheduling(const std::string& policy,
                                    const std::string& slice,
                                    const std::string& placement,
                                    const std::vector<ClassOptions>& classes,
                                    unsigned cores) {
  Scheduling scheduling;
  if (const PolicyInfo* const order = FindPolicy(policy); order != nullptr) {
    scheduling.order = order->name;
    if (order->sets_slices) scheduling.slice = kUsualSlice;
  } else if (Result<Scheduling> preset = FindPreset(policy); preset) {
    scheduling = *std::move(preset);
    if (scheduling.slice != SliceRange()) scheduling.slice = kUsualSlice;
  } else {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("--policy is '{}', which is neither an order nor a preset; "
                    "`yamanote policies` lists both",
                    policy));
  }
  if (slice == "none") {
    scheduling.slice = SliceRange();
  } else if (!slice.empty()) {
    const Result<Duration> time = ParseDuration(slice);
    if (!time) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("--slice: {}", time.error().message));
    }
    if (*time < kLeastSlice || *time > kMostSlice) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("--slice is {}; it must be {} .. {}, or none", slice,
                      FormatDuration(kLeastSlice), FormatDuration(kMostSlice)));
    }
    scheduling.slice = *time;
  }
  if (!placement.empty()) {
    bool known = false;
    for (const PlacementKind kind :
         {PlacementKind::kCentral, PlacementKind::kStealing}) {
      if (ToString(kind) != placement) continue;
      scheduling.placement = kind;
      known = true;
    }
    if (!known) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("--placement is '{}'; it must be central or "
                                   "stealing",
                                   placement));
    }
  }
  scheduling.classes = classes;
  Result<Scheduling> fit = native::ForNative(scheduling, cores);
  if (fit) {
    if (Result<void> valid = Validate(*fit, cores); !valid)
      return tl::unexpected(valid.error());
  }
  if (!fit) {
    return MakeError(fit.error().code,
                     fmt::format("--policy {}: {} (flag --placement)", policy,
                                 fit.error().message));
  }
  return fit;
}

Result<std::vector<ClassOptions>> NativeClasses(
    const std::vector<std::string>& texts) {
  std::vector<ClassOptions> classes;
  for (const std::string& text : texts) {
    ClassOptions options;
    options.name = text;
    if (text.find(':') != std::string::npos) {
      const Result<ClassSetting> setting = ParseClass(text);
      if (!setting) {
        return MakeError(setting.error().code,
                         fmt::format("--class: {}", setting.error().message));
      }
      if (setting->limit) {
        return MakeError(
            ErrorCode::kInvalidArgument,
            fmt::format("--class {} has a limit, but threads are not refused; "
                        "leave it out (--max-threads is the enclave's)",
                        text));
      }
      options = WithSettings({.name = setting->name}, *setting);
    }
    classes.push_back(std::move(options));
  }
  if (classes.empty()) classes.emplace_back();
  return classes;
}

Result<Hint> NativeHint(const std::vector<ClassOptions>& classes,
                        const std::string& name, int64_t weight,
                        const std::string& due) {
  Hint hint;
  if (!name.empty()) {
    const auto found = std::ranges::find(classes, name, &ClassOptions::name);
    if (found == classes.end()) {
      std::string names;
      for (const ClassOptions& one : classes)
        names += (names.empty() ? "" : ", ") + one.name;
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("class is '{}', which the enclave does not "
                                   "have; its classes are {}: name them with "
                                   "--class of `yamanote native run`",
                                   name, names));
    }
    hint.request_class = static_cast<ClassId>(found - classes.begin());
  }
  if (weight < 0 || weight > native::kMostHintWeight) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("weight is {}; it must be 1 .. {}, or 0 for "
                                 "the one that the thread has anyway",
                                 weight, native::kMostHintWeight));
  }
  hint.weight = static_cast<uint16_t>(weight);
  if (!due.empty()) {
    const Result<Duration> time = ParseDuration(due);
    if (!time) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("due: {}", time.error().message));
    }
    hint.due = *time;
  }
  return hint;
}

Result<int> RunEnclave(const EnclaveSettings& settings,
                       const std::vector<std::string>& arguments,
                       const std::vector<pid_t>& pids) {
  const Signals signals;
  std::optional<Program> program;
  if (!arguments.empty()) {
    const Result<std::string> socket = ControlPath(settings.name);
    if (!socket) return tl::unexpected(socket.error());
    Result<Program> prepared =
        Program::Prepare(arguments, signals.before(), [&socket] {
          // What this process needs is not the program's.
          prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
          // For Hints::Open(). This child has one thread.
          setenv("YAMANOTE_ENCLAVE", socket->c_str(), 1);
        });
    if (!prepared) return tl::unexpected(prepared.error());
    program.emplace(*std::move(prepared));
  }
  // Whoever reads what is printed may go; the threads have to be restored all the same.
  signal(SIGPIPE, SIG_IGN);
  // After the program, which is to have the affinity that it was started with.
  StandAside(settings.cpus);
  Enclave enclave(settings);
  if (Result<void> started = enclave.Start(); !started)
    return tl::unexpected(started.error());
  for (const pid_t pid : pids)
    if (Result<void> added = enclave.Add(pid); !added)
      return tl::unexpected(added.error());
  if (program) {
    if (Result<void> added = enclave.Add(program->pid()); !added)
      return tl::unexpected(added.error());
    if (Result<void> gone = program->Go(); !gone)
      return tl::unexpected(gone.error());
  }
  return Serve(enclave, signals, program ? program->pid() : -1);
}

}  // namespace yamanote::tools
