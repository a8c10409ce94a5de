// service.cc - serves, sends, and writes down when.

#include "tools/bench/cores/service.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/cpu.h"
#include "base/histogram.h"
#include "net/spin.h"
#include "tools/bench/trace.h"
#include "tools/load/pin.h"
#include "yamanote/server.h"

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;

// Below it a sleep is not worth its wake-up.
constexpr Duration kPolled = 5us;
// After the last arrival, for what is not answered yet.
constexpr Duration kPatience = 1s;
// Each a flow: how many clients there seem to be.
constexpr size_t kSockets = 64;

// Whether the kernel lets the calling thread go first.
bool Prefer() {
  sched_param first{};
  first.sched_priority = 1;
  return pthread_setschedparam(pthread_self(), SCHED_FIFO, &first) == 0 ||
         setpriority(PRIO_PROCESS, 0, -20) == 0;
}

// Connected to the service.
Result<std::vector<int>> Connect(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<int> sockets;
  for (size_t i = 0; i < kSockets; ++i) {
    const int one = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (one < 0 || connect(one, reinterpret_cast<sockaddr*>(&address),
                           sizeof address) != 0)
      return MakeError(ErrorCode::kResourceExhausted,
                       "the generator can't make its sockets", errno);
    sockets.push_back(one);
  }
  return sockets;
}

}  // namespace

double Calibrate() {
  constexpr uint64_t kSteps = 200'000;
  const Trace none(0);
  Duration best = Duration::max();
  for (int round = 0; round < 50; ++round) {
    const Instant begun = Clock::now();
    Work(none, kSteps);
    best = std::min(best, Duration(Clock::now() - begun));
  }
  return static_cast<double>(kSteps) * 1000 / static_cast<double>(best.count());
}

void SleepUntil(Instant due) {
  for (Instant now = Clock::now(); now < due; now = Clock::now()) {
    const Duration left = due - now;
    if (left <= kPolled) {
      base::Pause();
      continue;
    }
    const Duration sleep = left - kPolled;
    const timespec time{.tv_sec = sleep / 1s, .tv_nsec = (sleep % 1s).count()};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
  }
}

// ---- The parent's side ------------------------------------------------------

Result<void> ServiceProcess::Await(Child& child,
                                   const std::atomic<Phase>& phase,
                                   const State& state) {
  for (;;) {
    const Phase now = phase.load(std::memory_order_acquire);
    if (now == Phase::kFailed) return MakeError(state.code, state.error);
    if (now != Phase::kStarting) return {};
    if (!child.Alive())
      return MakeError(ErrorCode::kUnavailable, "a service died at its start");
    std::this_thread::sleep_for(1ms);
  }
}

Result<std::unique_ptr<ServiceProcess>> ServiceProcess::Start(
    ServicePlan plan) {
  std::unique_ptr<ServiceProcess> process(new ServiceProcess(std::move(plan)));
  ServiceProcess* const self = process.get();
  State& state = *process->state_;
  Result<Child> server = Child::Fork(
      [self] { return self->Finish(self->state_->server, self->Serve()); });
  if (!server) return tl::unexpected(server.error());
  process->server_ = std::move(*server);
  if (const auto ready = Await(process->server_, state.server, state); !ready)
    return tl::unexpected(ready.error());
  Result<Child> generator = Child::Fork([self] {
    return self->Finish(self->state_->generator, self->Generate());
  });
  if (!generator) return tl::unexpected(generator.error());
  process->generator_ = std::move(*generator);
  if (const auto ready = Await(process->generator_, state.generator, state);
      !ready)
    return tl::unexpected(ready.error());
  return process;
}

void ServiceProcess::Go(Instant start) {
  state_->go_ns.store(ToNanos(start), std::memory_order_release);
}

Result<void> ServiceProcess::Wait() {
  Instant last{};
  for (;;) {
    const bool sent =
        state_->generator.load(std::memory_order_acquire) == Phase::kDone;
    if (!server_.Alive() || (!sent && !generator_.Alive()))
      return MakeError(ErrorCode::kUnavailable, "a service died");
    if (sent) {
      // Acquire: pairs with Handler::Handle().
      if (state_->answered.load(std::memory_order_acquire) >=
          plan_.arrivals.size())
        return {};
      if (last == Instant{}) last = Clock::now();
      if (Clock::now() - last > kPatience) return {};
    }
    std::this_thread::sleep_for(1ms);
  }
}

std::vector<ServiceProcess::Answer> ServiceProcess::answers() const {
  std::vector<Answer> answers(plan_.arrivals.size());
  for (size_t i = 0; i < answers.size(); ++i) {
    // Relaxed, both: those that matter were written before Wait() saw the end.
    const int64_t latency =
        outcomes_[i].latency_ns.load(std::memory_order_relaxed);
    answers[i] = {
        .sent = Duration(outcomes_[i].sent_ns.load(std::memory_order_relaxed)),
        .latency = latency == 0 ? Duration::max() : Duration(latency)};
  }
  return answers;
}

int ServiceProcess::Finish(std::atomic<Phase>& phase,
                           const Result<void>& result) {
  if (result) return 0;
  state_->code = result.error().code;
  std::strncpy(state_->error, result.error().message.c_str(),
               sizeof state_->error - 1);
  phase.store(Phase::kFailed, std::memory_order_release);
  return 1;
}

// ---- The service ------------------------------------------------------------

class ServiceProcess::Handler final : public Service {
 public:
  explicit Handler(ServiceProcess& process)
      : process_(process), start_(process.state_->go_ns) {}

  void Handle(const Request& request, Reply& /*reply*/) override {
    const auto message = net::DecodeSpin(request.bytes);
    if (!message || message->sequence >= process_.plan_.arrivals.size()) return;
    Work(nothing_,
         static_cast<uint64_t>(static_cast<double>(message->service_ns) *
                               process_.plan_.steps_per_us / 1000) +
             1);
    // Relaxed: set before the first request was sent.
    const Instant start = FromNanos(start_.load(std::memory_order_relaxed));
    const Duration sent(static_cast<int64_t>(message->stamp));
    process_.outcomes_[message->sequence].latency_ns.store(
        ToNanos(Clock::now() - start - sent), std::memory_order_relaxed);
    // Release: pairs with Wait().
    process_.state_->answered.fetch_add(1, std::memory_order_release);
  }

 private:
  ServiceProcess& process_;
  const std::atomic<int64_t>& start_;
  const Trace nothing_{0};
};

Result<void> ServiceProcess::Serve() {
  KeepTo(plan_.generator.shared);
  RuntimeOptions options;
  options.arbiter = plan_.arbiter;
  options.scheduling = plan_.scheduling;
  if (plan_.arbiter.socket.empty()) options.cpus = plan_.cpus;
  Result<std::unique_ptr<Runtime>> runtime =
      Runtime::Create(std::move(options));
  if (!runtime) return tl::unexpected(runtime.error());
  Handler handler(*this);
  const net::SpinProtocol protocol;
  Result<std::unique_ptr<Server>> server =
      Server::Start({.listen = {*SocketAddress::Parse("127.0.0.1:0")},
                     .tcp = false,
                     .udp = true},
                    protocol, handler);
  if (!server) return tl::unexpected(server.error());
  state_->port = (*server)->udp_addresses().front().port();
  state_->server.store(Phase::kReady, std::memory_order_release);
  // It stays until it is ended, as it is.
  for (;;) {
    std::this_thread::sleep_for(10ms);
    state_->grants.store((*runtime)->stats().grants);
  }
}

// ---- The generator ----------------------------------------------------------

Result<void> ServiceProcess::Generate() {
  const bool own = plan_.generator.cpu >= 0;
  if (own) {
    load::PinCurrentThread(plan_.generator.cpu);
  } else {
    KeepTo(plan_.generator.shared);
  }
  const Result<std::vector<int>> sockets = Connect(state_->port);
  if (!sockets) return tl::unexpected(sockets.error());
  state_->generator.store(Phase::kReady, std::memory_order_release);
  int64_t go = 0;
  while ((go = state_->go_ns.load(std::memory_order_acquire)) == 0)
    std::this_thread::sleep_for(1ms);
  state_->prompt = own || Prefer();
  const Instant start = FromNanos(go);
  base::Histogram late;
  for (size_t i = 0; i < plan_.arrivals.size(); ++i) {
    const Arrival& arrival = plan_.arrivals[i];
    const Instant due = start + arrival.at;
    if (own) {
      while (Clock::now() < due) base::Pause();
    } else {
      SleepUntil(due);
    }
    const Instant now = Clock::now();
    late.Record(static_cast<uint64_t>(ToNanos(now - due)));
    const auto message =
        net::EncodeSpin({.stamp = static_cast<uint64_t>(ToNanos(now - start)),
                         .service_ns = arrival.service_ns,
                         .flow = static_cast<uint32_t>(i % kSockets),
                         .sequence = static_cast<uint32_t>(i),
                         .request_class = arrival.request_class});
    outcomes_[i].sent_ns.store(ToNanos(now - start), std::memory_order_relaxed);
    // One that the kernel does not take is one that is not answered.
    static_cast<void>(
        send((*sockets)[i % kSockets], message.data(), message.size(), 0));
  }
  state_->generator_late_p99_ns = static_cast<int64_t>(late.Quantile(0.99));
  state_->generator.store(Phase::kDone, std::memory_order_release);
  for (;;) pause();
}

}  // namespace yamanote::bench
