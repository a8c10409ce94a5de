// host.cc - connections and cores of one server.

#include "net/host.h"

#include <mutex>
#include <utility>

#include "worker/spawn.h"
#include "worker/wait.h"

namespace yamanote::net {
namespace {

// What a core may do for connections' homes between two tasks, and when idle.
constexpr size_t kHomeBudget = 32;

std::vector<ClassOptions> ClassesOf(const ServerOptions& options,
                                    const Protocol& protocol) {
  return options.classes.empty() ? protocol.Classes() : options.classes;
}

StreamLimits LimitsOf(const ServerOptions& options, MemoryBudget& memory) {
  return {.max_request_bytes = options.max_request_bytes,
          .max_reply_bytes = options.max_reply_bytes,
          .memory = &memory,
          .idle_timeout = options.idle_timeout,
          .request_timeout = options.request_timeout,
          .send_timeout = options.send_timeout};
}

}  // namespace

// Each core calls InitPerCore() once; the last one wakes InitCores().
struct Host::CoreInit {
  explicit CoreInit(unsigned cores) : done(cores), remaining(cores) {}

  void RunOn(CoreId core, Service& service) {
    if (done[core].exchange(true)) return;
    Result<void> result = service.InitPerCore(core);
    const std::lock_guard guard(lock);
    if (!result && !failed) {
      failed = true;
      error = std::move(result.error());
    }
    if (--remaining == 0 && waiter != nullptr) worker::Notify(*waiter);
  }

  std::vector<std::atomic<bool>> done;
  base::SpinLock lock;  // Guards what follows.
  unsigned remaining;
  bool failed = false;
  Error error;
  worker::Waiter* waiter = nullptr;
};

Host::Host(worker::Engine& engine, const ServerOptions& options,
           const Protocol& protocol, Service& service, MemoryBudget& memory)
    : engine_(engine),
      cores_(engine.cores()),
      options_(options),
      protocol_(protocol),
      service_(service),
      limits_(LimitsOf(options, memory)),
      replies_go_home_(engine.options().scheduling.replies == ReplyPath::kHome),
      admission_(ClassesOf(options, protocol)),
      core_counters_(std::make_unique<Counters[]>(engine.cores() + 1)),
      udp_pool_(options.max_datagrams + (engine.cores() + 1) * UdpCore::kKept,
                options.max_datagram_bytes,
                std::min(options.max_reply_bytes, options.max_udp_reply_bytes),
                memory),
      core_init_(std::make_unique<CoreInit>(engine.cores())) {
  for (CoreId core = 0; core <= cores_; ++core) {
    udp_cores_.push_back(std::make_unique<UdpCore>(
        udp_pool_, options.reply_delay, core_counters_[core]));
    uint64_t flow = 1;
    while (core < cores_ && dispatch::HomeOfFlow(flow, cores_) != core) ++flow;
    core_flows_.push_back(flow);
    home_replies_.push_back(
        std::make_unique<HomeQueue>(replies_go_home_ ? kHomeReplies : 1));
  }
  connections_.reserve(options.max_connections + kMostRefusing);
}

Host::~Host() = default;

Result<void> Host::InitCores() {
  CoreInit& init = *core_init_;
  worker::Waiter waiter;
  {
    const std::lock_guard guard(init.lock);
    init.waiter = &waiter;
  }
  initialising_.store(true);  // The pump sees it at each core's next pass.
  for (CoreId core = 0; core < cores_; ++core) engine_.VisitCore(core);
  worker::Wait(waiter);
  initialising_.store(false);
  const std::lock_guard guard(init.lock);
  if (init.failed) return tl::unexpected(init.error);
  return {};
}

// ---- Requests of connections ------------------------------------------------

bool Host::SpawnCounted(const worker::SpawnOptions& options,
                        void (*entry)(void*), void* argument) {
  // First: the thread may finish before Spawn() returns.
  counters().Add(Counter::kSpawned);
  if (worker::Spawn(options, entry, argument)) return true;
  counters().Add(Counter::kFinished);
  return false;
}

bool Host::Spawn(Connection& connection) {
  const worker::SpawnOptions options{
      .name = "tcp request",
      .request_class = connection.frame().request_class,
      .flow = FlowOf(connection.home()),
      .arrival = connection.arrival(),
      .deadline = connection.request_deadline()};
  return SpawnCounted(
      options,
      [](void* argument) {
        Connection& one = *static_cast<Connection*>(argument);
        Host& host = static_cast<Host&>(one.host());
        one.RunRequests();
        host.Finished();
      },
      &connection);
}

bool Host::SpawnContinue(Connection& connection) {
  return SpawnCounted(
      {.name = "tcp turn", .flow = FlowOf(connection.home())},
      [](void* argument) {
        Connection& one = *static_cast<Connection*>(argument);
        Host& host = static_cast<Host&>(one.host());
        one.Continue();
        host.Finished();
      },
      &connection);
}

bool Host::NothingElseWaits() {
  const CoreId core = worker::CurrentCore();
  return core < cores_ && !engine_.placement().HasOwnWork(core);
}

bool Host::SendHome(Connection& connection) {
  if (!replies_go_home_) return false;
  const CoreId home = connection.home();
  // A core that sleeps is not woken for a reply that this core can send.
  if (worker::CurrentCore() == home || engine_.parking().IsParked(home))
    return false;
  Connection* pointer = &connection;
  const dispatch::Pushed pushed = home_replies_[home]->TryPush(pointer);
  // It may have fallen asleep meanwhile, or lost its core.
  if (pushed == dispatch::Pushed::kFirst) engine_.VisitCore(home);
  return pushed != dispatch::Pushed::kFull;
}

bool Host::DrainHome(CoreId core) {
  return home_replies_[core]->Drain(kHomeBudget,
                                    [](Connection* c) { c->Continue(); }) > 0;
}

bool Host::Help(CoreId core) {
  if (!replies_go_home_ || !DrainHome(core)) return false;
  // What is left is the home's own, which may have met this core at it and slept.
  if (!home_replies_[core]->Empty()) engine_.AskForPump(core);
  return true;
}

bool Host::Run(CoreId core, Instant now, Moment moment) {
  if (initialising_.load(std::memory_order_acquire))
    core_init_->RunOn(core, service_);
  bool worked = replies_go_home_ && DrainHome(core);
  UdpReplies& replies = udp_cores_[core]->replies;
  worked |= moment == Moment::kIdle ? replies.Flush() : replies.FlushOld(now);
  return worked;
}

void Host::FlushAllUdp() {
  for (auto& core : udp_cores_) core->replies.Flush();
}

// ---- Connections ------------------------------------------------------------

Connection* Host::TakeConnection(CoreId& home, Connection::Welcome& welcome) {
  const std::lock_guard guard(connections_lock_);
  const bool full = serving_ == options_.max_connections;
  if (full && refusing_ == kMostRefusing) return nullptr;
  welcome = full ? Connection::Welcome::kRefuse : Connection::Welcome::kServe;
  ++(full ? refusing_ : serving_);
  home = next_home_;
  next_home_ = (next_home_ + 1) % cores_;
  if (free_connections_ == nullptr) {
    connections_.push_back(
        std::make_unique<Connection>(*this, protocol_, limits_));
    return connections_.back().get();
  }
  return std::exchange(free_connections_, free_connections_->next_free);
}

void Host::PutBack(Connection& connection, Connection::Welcome welcome) {
  {
    const std::lock_guard guard(connections_lock_);
    --(welcome == Connection::Welcome::kRefuse ? refusing_ : serving_);
    connection.next_free = free_connections_;
    free_connections_ = &connection;
  }
  // Pairs with open_connections().
  open_.fetch_sub(1, std::memory_order_release);
}

void Host::Closed(Connection& connection) {
  PutBack(connection, connection.welcome());
}

void Host::OpenConnection(int fd) {
  CoreId home = 0;
  auto welcome = Connection::Welcome::kServe;
  Connection* const connection = TakeConnection(home, welcome);
  auto bytes = std::make_unique<io::KernelStream>(fd, poller(home));
  if (connection == nullptr) {
    // Too many at once for manners: the reset may overtake any words.
    counters().Add(Counter::kRefusedConnections);
    return;
  }
  open_.fetch_add(1, std::memory_order_relaxed);
  const uint64_t flow = next_flow_.fetch_add(1, std::memory_order_relaxed);
  if (!connection->Open(std::move(bytes), home, flow, welcome)) {
    counters().Add(Counter::kRefusedConnections);
    PutBack(*connection, welcome);
  }
}

unsigned Host::served_connections() const {
  const std::lock_guard guard(connections_lock_);
  return serving_;
}

size_t Host::MadeConnections() const {
  const std::lock_guard guard(connections_lock_);
  return connections_.size();
}

size_t Host::Sweep(size_t first, size_t count, Instant now) {
  const size_t made = MadeConnections();
  const size_t end = std::min(made, first + count);
  for (size_t i = first; i < end; ++i) {
    if (connections_[i]->deadline() <= now) connections_[i]->Check();
  }
  return end == made ? 0 : end;
}

void Host::CheckAll() {
  const size_t made = MadeConnections();
  for (size_t i = 0; i < made; ++i) connections_[i]->Check();
}

void Host::AbortAll() {
  const size_t made = MadeConnections();
  for (size_t i = 0; i < made; ++i) connections_[i]->Abort();
}

// ---- Counting ---------------------------------------------------------------

uint64_t Host::Sum(Counter counter) const {
  uint64_t sum = 0;
  for (CoreId core = 0; core <= cores_; ++core)
    sum += core_counters_[core].Get(counter);
  return sum;
}

// Reads kFinished first: both only grow and a thread is counted in before it is
// counted out, so if the sums agree there was a moment with no thread alive.
bool Host::Quiet() const {
  const uint64_t finished = Sum(Counter::kFinished);
  return finished == Sum(Counter::kSpawned);
}

}  // namespace yamanote::net
