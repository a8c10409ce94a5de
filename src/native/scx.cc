// scx.cc - an enclave of sched_ext as its agents see it: maps that both sides write.

#include "native/scx.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/check.h"
#include "native/scx_maps.h"
#include "native/scx_ring.h"

namespace yamanote::native {

namespace {

template <typename T>
T Load(const T& from) {
  return __atomic_load_n(&from, __ATOMIC_ACQUIRE);
}
template <typename T>
void Store(T& to, T value) {
  __atomic_store_n(&to, value, __ATOMIC_RELEASE);
}

tl::unexpected<Error> NoQueue(QueueId queue) {
  return MakeError(ErrorCode::kNotFound,
                   fmt::format("there is no queue {}", queue));
}

class ScxOnMaps final : public ScxKernel {
 public:
  ScxOnMaps(std::unique_ptr<ScxMaps> maps, const ScxOptions& options)
      : maps_(std::move(maps)), options_(options) {
    for (CoreId core = 0; core < cores(); ++core)
      kicks_[core].event = ScxFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    // What agents before these had.
    Detach();
  }

  ~ScxOnMaps() override { Detach(); }

  unsigned cores() const override {
    return static_cast<unsigned>(options_.cpus.size());
  }
  uint32_t max_threads() const override { return options_.max_threads; }

  // ---- Queues

  Result<QueueId> CreateQueue(uint32_t capacity) override {
    const ScxControl& control = *maps_->control;
    if (capacity < 1 ||
        std::size_t{capacity} * (sizeof(Message) + 8) > control.queue_bytes) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("a queue's capacity is {}; it must be 1 .. {}, which "
                      "ScxOptions::queue_capacity sets",
                      capacity, control.queue_bytes / (sizeof(Message) + 8)));
    }
    const std::lock_guard guard(mutex_);
    for (QueueId id = 0; id < control.queues; ++id) {
      if (maps_->queues[id].alive != 0) continue;
      uint32_t map = 0;
      int fd = -1;
      if (bpf_map_lookup_elem(maps_->rings_fd.get(), &id, &map) == 0)
        fd = bpf_map_get_fd_by_id(map);
      if (fd < 0) return NoRing(id);
      auto ring = std::make_unique<ScxRing>(fd, control.queue_bytes);
      if (!ring->ok()) return NoRing(id);
      // What is left of the one that had it before.
      for (Message message{}; ring->Read(message);) {
      }
      rings_[id] = std::move(ring);
      maps_->queues[id].wakes = kScxNone;
      maps_->queues[id].overflowed = 0;
      Store(maps_->queues[id].alive, 1U);
      return id;
    }
    return MakeError(ErrorCode::kResourceExhausted,
                     fmt::format("there are {} queues, and all are in use; set "
                                 "ScxOptions::queues",
                                 control.queues));
  }

  Result<void> DestroyQueue(QueueId queue) override {
    const std::lock_guard guard(mutex_);
    if (!Alive(queue)) return NoQueue(queue);
    for (uint32_t i = 0; i < max_threads(); ++i)
      if (maps_->threads[i].word.thread != 0 &&
          maps_->threads[i].queue == queue)
        return InUse(queue, fmt::format("thread {}", i));
    for (CoreId core = 0; core < cores(); ++core)
      if (maps_->cores[core].queue == queue)
        return InUse(queue, fmt::format("core {}", core));
    if (maps_->control->new_threads == queue)
      return InUse(queue, "a new thread");
    Remove(queue);
    return {};
  }

  Result<void> ConfigureWake(QueueId queue, CoreId agent) override {
    if (!Alive(queue)) return NoQueue(queue);
    Store(maps_->queues[queue].wakes,
          agent < cores() ? agent : uint32_t{kScxNone});
    // Whoever waits may wait for the wrong one.
    if (agent < cores()) WakeAgent(agent);
    return {};
  }

  Association Associate(ThreadId thread, QueueId queue,
                        uint32_t sequence) override {
    ScxAssociateArguments arguments{
        .thread = thread, .queue = queue, .sequence = sequence};
    switch (Run(maps_->associate_fd, &arguments, sizeof(arguments))) {
      case kScxDone:
        return Association::kDone;
      case kScxPending:
        return Association::kPending;
      case kScxStale:
        return Association::kStale;
      default:
        return Association::kNotFound;
    }
  }

  Result<void> AssociateCore(CoreId core, QueueId queue) override {
    if (!Alive(queue)) return NoQueue(queue);
    Store(core == kNoCore ? maps_->control->new_threads
                          : maps_->cores[core].queue,
          queue);
    return {};
  }

  bool Receive(QueueId queue, Message& message) override {
    if (!rings_[queue]->Read(message)) return false;
    received_.fetch_add(1, std::memory_order_relaxed);
    if (message.thread != 0 && IndexOf(message.thread) < max_threads()) {
      ScxThread& thread = maps_->threads[IndexOf(message.thread)];
      if (Load(thread.word.thread) == message.thread)
        __atomic_fetch_add(&thread.received, 1, __ATOMIC_RELEASE);
    }
    return true;
  }

  bool Overflowed(QueueId queue) override {
    uint32_t& overflowed = maps_->queues[queue].overflowed;
    return Load(overflowed) != 0 &&
           __atomic_exchange_n(&overflowed, 0, __ATOMIC_ACQ_REL) != 0;
  }

  void Detach() override {
    const std::lock_guard guard(mutex_);
    Store(maps_->control->new_threads, uint32_t{kScxNone});
    for (CoreId core = 0; core < cores(); ++core) {
      Store(maps_->cores[core].queue, uint32_t{kScxNone});
      Store(maps_->cores[core].sleeping, 0U);
    }
    for (uint32_t i = 0; i < max_threads(); ++i)
      Store(maps_->threads[i].queue, uint32_t{kScxNone});
    for (QueueId queue = 0; queue < kScxQueues; ++queue)
      if (maps_->queues[queue].alive != 0) Remove(queue);
  }

  // ---- State

  uint32_t AgentSequence(CoreId core) const override {
    return Load(maps_->cores[core].agent_sequence);
  }

  bool Read(ThreadId thread, StatusWord& status) const override {
    return IndexOf(thread) < max_threads() &&
           ReadWord(IndexOf(thread), status) && status.thread == thread;
  }

  void ForEachThread(
      const std::function<void(const StatusWord&)>& visit) const override {
    StatusWord status{};
    for (uint32_t i = 0; i < max_threads(); ++i)
      if (ReadWord(i, status)) visit(status);
  }

  bool MayRun(ThreadId thread, CoreId core) const override {
    if (IndexOf(thread) >= max_threads() || core >= cores()) return false;
    const ScxThread& found = maps_->threads[IndexOf(thread)];
    const uint32_t cpu = maps_->cores[core].cpu;
    return Load(found.word.thread) == thread &&
           (Load(found.allowed[cpu / 64]) >> (cpu % 64) & 1) != 0;
  }

  bool Available(CoreId core) const override {
    return Load(maps_->cores[core].busy) == 0;
  }

  // ---- Decisions

  void Commit(std::span<Transaction> group) override {
    while (!group.empty()) {
      const auto part = group.first(
          std::min<std::size_t>(group.size(), std::size_t{kScxGroup}));
      const CoreId agent = part[0].agent < cores() ? part[0].agent : 0;
      const std::lock_guard guard(kicks_[agent].commits);
      const uint32_t first = agent * kScxGroup;
      std::copy(part.begin(), part.end(), maps_->transactions + first);
      ScxCommitArguments arguments{.first = first,
                                   .count = static_cast<uint32_t>(part.size())};
      Run(maps_->commit_fd, &arguments, sizeof(arguments));
      for (std::size_t i = 0; i < part.size(); ++i) {
        part[i].result = part[i].thread == 0
                             ? uint32_t{kCommitNotSupported}
                             : Load(maps_->transactions[first + i].result);
        if (part[i].result < kCommitResults)
          results_[part[i].result].fetch_add(1, std::memory_order_relaxed);
      }
      group = group.subspan(part.size());
    }
    unsettled_.store(true, std::memory_order_relaxed);
  }

  std::string_view WhyNoCoreScheduling() const override {
    return "on this back-end, sched_ext, nothing vacates a core yet, and idle "
           "ones may take threads by themselves; unset it, or let Linux do it: "
           "prctl(PR_SCHED_CORE)";
  }

  void WakeAgent(CoreId core) override {
    __atomic_fetch_add(&maps_->cores[core].kicks, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&maps_->cores[core].sleeping, __ATOMIC_SEQ_CST) == 0)
      return;
    const uint64_t one = 1;
    [[maybe_unused]] const auto written =
        write(kicks_[core].event.get(), &one, sizeof(one));
  }

  // A thread that is bound to the one core is bound to the other then.
  void MoveAgent(CoreId from, CoreId to) override {
    cpu_set_t mine;
    CPU_ZERO(&mine);
    if (sched_getaffinity(0, sizeof(mine), &mine) != 0 ||
        CPU_COUNT(&mine) != 1 || !CPU_ISSET(maps_->cores[from].cpu, &mine))
      return;
    CPU_ZERO(&mine);
    CPU_SET(maps_->cores[to].cpu, &mine);
    sched_setaffinity(0, sizeof(mine), &mine);
  }

  // ---- Driving

  void Wait(CoreId core, Duration most) override {
    ScxCore& self = maps_->cores[core];
    if (unsettled_.exchange(false, std::memory_order_relaxed) &&
        Run(maps_->sweep_fd, nullptr, 0) > 0) {
      unsettled_.store(true, std::memory_order_relaxed);
      most = std::min(most, kSweep);
    }
    // Pairs with Send() of scx.bpf.c and WakeAgent(): full fences. Who writes after this
    // looks at `sleeping`; what was written before, is seen here.
    __atomic_store_n(&self.sleeping, 1, __ATOMIC_SEQ_CST);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    std::array<pollfd, 33> waits{};
    std::size_t count = 0;
    waits[count++] = {
        .fd = kicks_[core].event.get(), .events = POLLIN, .revents = 0};
    bool there = Load(self.kicks) != kicks_[core].seen;
    {
      const std::lock_guard guard(mutex_);
      for (QueueId queue = 0; queue < kScxQueues; ++queue) {
        if (rings_[queue] == nullptr || maps_->queues[queue].wakes != core)
          continue;
        there |= !rings_[queue]->Empty();
        if (count < waits.size())
          waits[count++] = {
              .fd = rings_[queue]->fd(), .events = POLLIN, .revents = 0};
      }
    }
    if (!there && most > Duration::zero()) {
      const auto ns = ToNanos(most);
      const timespec timeout{.tv_sec = ns / 1000000000,
                             .tv_nsec = ns % 1000000000};
      ppoll(waits.data(), count, &timeout, nullptr);
    }
    Store(self.sleeping, 0U);
    kicks_[core].seen = Load(self.kicks);
    uint64_t value = 0;
    [[maybe_unused]] const auto got =
        read(kicks_[core].event.get(), &value, sizeof(value));
  }

  std::string Ended() const override {
    const ScxControl& control = *maps_->control;
    if (Load(control.exit_kind) == 0) return {};
    const auto text = [](const char* from, std::size_t most) {
      return std::string(from, strnlen(from, most));
    };
    return fmt::format(
        "{}: {}", text(control.exit_reason, sizeof(control.exit_reason)),
        text(control.exit_message, sizeof(control.exit_message)));
  }

  bool over() const override { return Load(maps_->control->exit_kind) != 0; }
  int link_descriptor() const override { return maps_->link.get(); }
  Backend::Counts counts() const override {
    Backend::Counts counts;
    counts.messages = received_.load(std::memory_order_relaxed);
    counts.lost_messages = Load(maps_->control->lost_messages);
    for (int i = 0; i < kCommitResults; ++i)
      counts.results[i] = results_[i].load(std::memory_order_relaxed);
    return counts;
  }

  bool resumed() const override { return maps_->resumed; }
  void Unpin() override { maps_->Unpin(); }
  uint64_t fast_served() const override {
    return Load(maps_->control->fast_served);
  }

 private:
  // How long until one looks again whether committed threads have got to their cores.
  static constexpr Duration kSweep = std::chrono::milliseconds(5);

  struct Kick {
    ScxFd event;
    uint32_t seen = 0;   // By Wait() alone.
    std::mutex commits;  // Guards the agent's part of the table.
  };

  static tl::unexpected<Error> NoRing(QueueId queue) {
    const int error = errno;
    return tl::unexpected(
        Error{.code = ErrorCode::kInternal,
              .message = fmt::format("queue {} cannot be mapped: {}", queue,
                                     std::strerror(error)),
              .system_errno = error});
  }

  static tl::unexpected<Error> InUse(QueueId queue, const std::string& whose) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("queue {} is {}'s; associate it with another "
                                 "first",
                                 queue, whose));
  }

  bool Alive(QueueId queue) const {
    return queue < kScxQueues && maps_->queues[queue].alive != 0;
  }

  // Requires: mutex_.
  void Remove(QueueId queue) {
    Store(maps_->queues[queue].alive, 0U);
    maps_->queues[queue].wakes = kScxNone;
    rings_[queue].reset();
  }

  // Returns what the program returned.
  static uint32_t Run(const ScxFd& program, void* arguments, uint32_t size) {
    bpf_test_run_opts how{};
    how.sz = sizeof(how);
    how.ctx_in = arguments;
    how.ctx_size_in = size;
    const int failed = bpf_prog_test_run_opts(program.get(), &how);
    YAMANOTE_CHECK(failed == 0, "the kernel runs a program that it has loaded");
    return how.retval;
  }

  // False: the word is free.
  bool ReadWord(uint32_t index, StatusWord& status) const {
    const ScxThread& thread = maps_->threads[index];
    for (;;) {
      const uint32_t version = Load(thread.version);
      if ((version & 1) == 0) {
        status = thread.word;
        std::atomic_thread_fence(std::memory_order_acquire);
        if (__atomic_load_n(&thread.version, __ATOMIC_RELAXED) == version)
          return status.thread != 0;
      }
      __builtin_ia32_pause();
    }
  }

  const std::unique_ptr<ScxMaps> maps_;
  const ScxOptions options_;
  mutable std::mutex mutex_;  // Guards which queues there are.
  std::array<std::unique_ptr<ScxRing>, kScxQueues> rings_;
  std::array<Kick, kScxCpus> kicks_;
  // Counts: relaxed, each by itself.
  std::atomic<uint64_t> received_{0};
  std::atomic<uint64_t> results_[kCommitResults] = {};
  std::atomic<bool> unsettled_{
      false};  // Relaxed: nothing depends on it but when.
};

}  // namespace

Result<std::unique_ptr<ScxKernel>> ScxKernel::Create(
    const ScxOptions& options) {
  if (options.cpus.empty() || options.cpus.size() > kScxCpus) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("there are {} CPUs in cpus; name 1 .. {}",
                    options.cpus.size(), static_cast<unsigned>(kScxCpus)));
  }
  for (const int cpu : options.cpus) {
    if (cpu >= 0 && cpu < static_cast<int>(kScxCpus)) continue;
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("cpus has CPU {}; it must be 0 .. {}", cpu, kScxCpus - 1));
  }
  if (options.max_threads < 1 || options.max_threads > 65536) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("max_threads is {}; it must be 1 .. 65536",
                                 options.max_threads));
  }
  if (options.watchdog < std::chrono::milliseconds(1) ||
      options.watchdog > std::chrono::seconds(30)) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("watchdog is {} ns; the kernel takes 1 ms .. 30 s",
                    ToNanos(options.watchdog)));
  }
  constexpr uint32_t kMost = 1U << 20;
  if (options.queues > kScxQueues || options.queue_capacity < 1 ||
      options.queue_capacity > kMost) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "queues is {} and queue_capacity {}; they must be 0 .. {} and "
            "1 .. {}",
            options.queues, options.queue_capacity,
            static_cast<unsigned>(kScxQueues), kMost));
  }
  Result<std::unique_ptr<ScxMaps>> maps = LoadScx(options);
  if (!maps) return tl::unexpected(maps.error());
  return std::make_unique<ScxOnMaps>(*std::move(maps), options);
}

}  // namespace yamanote::native
