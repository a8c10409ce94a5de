// scx_load.cc - loads the sched_ext programs, pins them, and finds them by their pins.
//
// The object is part of this library. What depends on the machine is set before it is
// loaded: the sizes of the maps, the flags' values, the watchdog.

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <thread>

#include "native/scx_maps.h"

extern "C" {
// scx_object.S
extern const char yamanote_scx_object[];
extern const char yamanote_scx_object_end[];
}

namespace yamanote::native {

namespace {

template <typename T>
std::size_t SizeOf(uint32_t entries) {
  const auto page = static_cast<std::size_t>(getpagesize());
  // Elements of array maps are aligned to 8 bytes.
  static_assert(sizeof(T) % 8 == 0);
  return (sizeof(T) * entries + page - 1) / page * page;
}

tl::unexpected<Error> Failed(ErrorCode code, std::string message, int error) {
  return tl::unexpected(Error{
      .code = code, .message = std::move(message), .system_errno = error});
}

// What libbpf says goes into the error, not to the terminal.
thread_local std::string* libbpf_says = nullptr;

int Listen(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG || libbpf_says == nullptr) return 0;
  std::array<char, 4096> line{};
  const int length =
      std::vsnprintf(line.data(), line.size(), format, arguments);
  if (length > 0 && libbpf_says->size() < 65536) *libbpf_says += line.data();
  return length;
}

class Listening {
 public:
  Listening() {
    libbpf_says = &text_;
    libbpf_set_print(Listen);
  }
  ~Listening() { libbpf_says = nullptr; }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
  // The end: that is where the reason is.
  std::string Text() const {
    constexpr std::size_t kMost = 3000;
    return text_.size() < kMost ? text_ : text_.substr(text_.size() - kMost);
  }

 private:
  std::string text_;
};

struct Pin {
  const char* name;
  ScxFd ScxMaps::* fd;
};
constexpr std::array kMapPins = {
    Pin{.name = "threads", .fd = &ScxMaps::threads_fd},
    Pin{.name = "cores", .fd = &ScxMaps::cores_fd},
    Pin{.name = "queue_states", .fd = &ScxMaps::queues_fd},
    Pin{.name = "transactions", .fd = &ScxMaps::transactions_fd},
    Pin{.name = "control_map", .fd = &ScxMaps::control_fd},
    Pin{.name = "rings", .fd = &ScxMaps::rings_fd},
};
constexpr std::array kProgramPins = {
    Pin{.name = "commit", .fd = &ScxMaps::commit_fd},
    Pin{.name = "associate", .fd = &ScxMaps::associate_fd},
    Pin{.name = "sweep", .fd = &ScxMaps::sweep_fd},
};
constexpr const char* kLinkPin = "link";

std::string PathOf(const std::string& folder, const char* name) {
  return fmt::format("{}/{}", folder, name);
}

template <typename T>
bool Map(const ScxFd& fd, uint32_t entries, T*& to) {
  void* const at = mmap(nullptr, SizeOf<T>(entries), PROT_READ | PROT_WRITE,
                        MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return false;
  to = static_cast<T*>(at);
  return true;
}

Result<void> MapAll(ScxMaps& maps, uint32_t max_threads) {
  if (Map(maps.threads_fd, max_threads, maps.threads) &&
      Map(maps.cores_fd, kScxCpus, maps.cores) &&
      Map(maps.queues_fd, kScxQueues, maps.queues) &&
      Map(maps.transactions_fd, kScxCpus * kScxGroup, maps.transactions) &&
      Map(maps.control_fd, 1, maps.control))
    return {};
  const int error = errno;
  return Failed(ErrorCode::kInternal,
                fmt::format("the programs' maps cannot be mapped: {}",
                            std::strerror(error)),
                error);
}

// Locks the folder of the pins; whoever had it is gone then.
Result<void> LockPins(ScxMaps& maps, const ScxOptions& options) {
  maps.pins_path = options.pins;
  if (mkdir(options.pins.c_str(), 0700) != 0 && errno != EEXIST) {
    const int error = errno;
    return Failed(ErrorCode::kInvalidArgument,
                  fmt::format("pins is '{}', which cannot be made: {}; it must "
                              "be a folder in a BPF file system, for example "
                              "/sys/fs/bpf/yamanote",
                              options.pins, std::strerror(error)),
                  error);
  }
  maps.pins =
      ScxFd(open(options.pins.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto end = std::chrono::steady_clock::now() + options.patience;
  while (flock(maps.pins.get(), LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    if (error != EWOULDBLOCK || std::chrono::steady_clock::now() >= end) {
      return Failed(ErrorCode::kUnavailable,
                    fmt::format("another process has the pins {}: {}; end it, "
                                "or wait longer",
                                options.pins, std::strerror(error)),
                    error);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {};
}

// True if there was a scheduler, which runs.
bool FindPins(ScxMaps& maps) {
  const std::string link = PathOf(maps.pins_path, kLinkPin);
  if (access(link.c_str(), F_OK) != 0) return false;
  for (const Pin& pin : kMapPins)
    maps.*pin.fd = ScxFd(bpf_obj_get(PathOf(maps.pins_path, pin.name).c_str()));
  for (const Pin& pin : kProgramPins)
    maps.*pin.fd = ScxFd(bpf_obj_get(PathOf(maps.pins_path, pin.name).c_str()));
  maps.link = ScxFd(bpf_obj_get(link.c_str()));
  return maps.link.get() >= 0 && maps.control_fd.get() >= 0 &&
         Map(maps.control_fd, 1, maps.control) &&
         maps.control->abi == kNativeAbiVersion && maps.control->exit_kind == 0;
}

Result<void> CheckSame(const ScxMaps& maps, const ScxOptions& options) {
  bool same = maps.control->cores == options.cpus.size() &&
              maps.control->max_threads == options.max_threads;
  for (std::size_t i = 0; same && i < options.cpus.size(); ++i)
    same = maps.control->core_of[options.cpus[i]] == i;
  if (same) return {};
  return MakeError(
      ErrorCode::kInvalidArgument,
      fmt::format("the scheduler that is pinned in {} has {} cores and {} "
                  "threads at most; ask for the same, or remove the pins",
                  maps.pins_path, maps.control->cores,
                  maps.control->max_threads));
}

// Writes `value` to a member of the scheduler's description.
bool SetMember(const bpf_object* object, void* ops, std::string_view name,
               const void* value, std::size_t size) {
  const btf* const types = bpf_object__btf(object);
  const int id =
      btf__find_by_name_kind(types, "sched_ext_ops", BTF_KIND_STRUCT);
  if (id <= 0) return false;
  const btf_type* const type =
      btf__type_by_id(types, static_cast<uint32_t>(id));
  for (uint32_t i = 0; i < static_cast<uint32_t>(btf_vlen(type)); ++i) {
    if (name != btf__name_by_offset(types, btf_members(type)[i].name_off))
      continue;
    std::memcpy(static_cast<char*>(ops) + btf_member_bit_offset(type, i) / 8,
                value, size);
    return true;
  }
  return false;
}

void Configure(ScxMaps& maps, const ScxOptions& options) {
  ScxControl& control = *maps.control;
  control.abi = kNativeAbiVersion;
  control.cores = static_cast<uint32_t>(options.cpus.size());
  control.max_threads = options.max_threads;
  control.new_threads = kScxNone;
  control.queues = options.queues != 0
                       ? options.queues
                       : static_cast<uint32_t>(options.cpus.size()) + 2;
  // A record is a message and its header.
  control.queue_bytes =
      static_cast<uint32_t>(std::bit_ceil(std::max<std::size_t>(
          std::size_t{options.queue_capacity} * (sizeof(Message) + 8),
          static_cast<std::size_t>(getpagesize()))));
  for (uint32_t& core : control.core_of) core = kScxNone;
  for (uint32_t i = 0; i < kScxCpus; ++i) maps.cores[i].queue = kScxNone;
  for (uint32_t i = 0; i < control.cores; ++i) {
    maps.cores[i].cpu = static_cast<uint32_t>(options.cpus[i]);
    control.core_of[options.cpus[i]] = i;
  }
  for (uint32_t i = 0; i < kScxQueues; ++i) maps.queues[i].wakes = kScxNone;
  for (uint32_t i = 0; i < options.max_threads; ++i)
    maps.threads[i].queue = kScxNone;
}

// What an agent may change, whether the scheduler is new or not.
void Adjust(ScxMaps& maps, const ScxOptions& options) {
  maps.control->agent_process = static_cast<uint32_t>(getpid());
  maps.control->ticks = options.ticks ? 1 : 0;
  maps.control->fast_slice_ns =
      static_cast<uint64_t>(ToNanos(options.fast_slice));
  maps.control->fast_path = options.fast_path ? 1 : 0;
}

struct CloseObject {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using Object = std::unique_ptr<bpf_object, CloseObject>;

Result<void> Attach(ScxMaps& maps, bpf_object* object,
                    const Listening& listening) {
  bpf_link* const link = bpf_map__attach_struct_ops(
      bpf_object__find_map_by_name(object, "yamanote"));
  if (link == nullptr) {
    const int error = errno;
    if (error == EBUSY) {
      return Failed(ErrorCode::kUnavailable,
                    "another sched_ext scheduler is attached, and there can "
                    "be one; end it first",
                    error);
    }
    return Failed(
        ErrorCode::kInternal,
        fmt::format("the scheduler cannot be attached: {}\n{} {}",
                    std::strerror(error), listening.Text(),
                    static_cast<const char*>(maps.control->exit_message)),
        error);
  }
  maps.link = ScxFd(dup(bpf_link__fd(link)));
  bpf_link__disconnect(link);  // Closed, not detached: the other one holds it.
  bpf_link__destroy(link);
  return {};
}

Result<void> PinAll(const ScxMaps& maps) {
  if (maps.pins_path.empty()) return {};
  for (const Pin& pin : kMapPins)
    if (bpf_obj_pin((maps.*pin.fd).get(),
                    PathOf(maps.pins_path, pin.name).c_str()) != 0)
      return Failed(ErrorCode::kInternal,
                    fmt::format("{} cannot be pinned in {}: {}", pin.name,
                                maps.pins_path, std::strerror(errno)),
                    errno);
  for (const Pin& pin : kProgramPins)
    if (bpf_obj_pin((maps.*pin.fd).get(),
                    PathOf(maps.pins_path, pin.name).c_str()) != 0)
      return Failed(ErrorCode::kInternal,
                    fmt::format("{} cannot be pinned in {}: {}", pin.name,
                                maps.pins_path, std::strerror(errno)),
                    errno);
  // Last: where it is all is.
  if (bpf_obj_pin(maps.link.get(), PathOf(maps.pins_path, kLinkPin).c_str()) !=
      0)
    return Failed(ErrorCode::kInternal,
                  fmt::format("the scheduler cannot be pinned in {}: {}",
                              maps.pins_path, std::strerror(errno)),
                  errno);
  return {};
}

Result<Object> Open(const ScxOptions& options, const ScxKernelFacts& facts) {
  bpf_object_open_opts how{};
  how.sz = sizeof(how);
  how.object_name = "yamanote";
  Object object(bpf_object__open_mem(
      yamanote_scx_object,
      static_cast<std::size_t>(yamanote_scx_object_end - yamanote_scx_object),
      &how));
  if (object == nullptr)
    return Failed(ErrorCode::kInternal, "the programs cannot be read", errno);
  for (const char* const name : {"threads", "locks", "free_slots"})
    bpf_map__set_max_entries(bpf_object__find_map_by_name(object.get(), name),
                             options.max_threads);
  std::size_t size = 0;
  void* const ops = bpf_map__initial_value(
      bpf_object__find_map_by_name(object.get(), "yamanote"), &size);
  const auto timeout =
      static_cast<uint32_t>(ToNanos(options.watchdog) / 1000000);
  if (ops == nullptr ||
      !SetMember(object.get(), ops, "flags", &facts.flags,
                 sizeof(facts.flags)) ||
      !SetMember(object.get(), ops, "timeout_ms", &timeout, sizeof(timeout)))
    return Failed(ErrorCode::kInternal,
                  "libbpf gives no access to the scheduler's description", 0);
  return object;
}

Result<void> MakeRings(const ScxMaps& maps) {
  for (uint32_t i = 0; i < maps.control->queues; ++i) {
    const ScxFd ring(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "yamanote_queue", 0,
                                    0, maps.control->queue_bytes, nullptr));
    const int fd = ring.get();
    if (fd >= 0 &&
        bpf_map_update_elem(maps.rings_fd.get(), &i, &fd, BPF_ANY) == 0)
      continue;
    const int error = errno;
    return Failed(ErrorCode::kResourceExhausted,
                  fmt::format("{} queues of {} bytes cannot be made: {}",
                              maps.control->queues, maps.control->queue_bytes,
                              std::strerror(error)),
                  error);
  }
  return {};
}

Result<void> LoadNew(ScxMaps& maps, const ScxOptions& options) {
  const ScxKernelFacts facts = ProbeScx();
  if (!facts.missing.empty())
    return MakeError(ErrorCode::kUnsupported, facts.missing.front());
  const Listening listening;
  Result<Object> opened = Open(options, facts);
  if (!opened) return tl::unexpected(opened.error());
  bpf_object* const object = opened->get();
  if (const int failed = bpf_object__load(object); failed != 0) {
    const bool permitted = failed != -EPERM;
    return Failed(
        permitted ? ErrorCode::kInternal : ErrorCode::kPermissionDenied,
        fmt::format("the kernel does not load the scheduler: {}{}\n{}",
                    std::strerror(-failed), permitted ? "" : "; only root may",
                    listening.Text()),
        -failed);
  }
  for (const Pin& pin : kMapPins)
    maps.*pin.fd =
        ScxFd(dup(bpf_map__fd(bpf_object__find_map_by_name(object, pin.name))));
  for (const Pin& pin : kProgramPins)
    maps.*pin.fd = ScxFd(dup(
        bpf_program__fd(bpf_object__find_program_by_name(object, pin.name))));
  if (auto done = MapAll(maps, options.max_threads); !done) return done;
  Configure(maps, options);
  Adjust(maps, options);
  const int free =
      bpf_map__fd(bpf_object__find_map_by_name(object, "free_slots"));
  for (uint32_t i = 0; i < options.max_threads; ++i)
    bpf_map_update_elem(free, nullptr, &i, BPF_ANY);
  if (auto done = MakeRings(maps); !done) return done;
  if (auto done = Attach(maps, object, listening); !done) return done;
  return PinAll(maps);
}

}  // namespace

ScxFd::~ScxFd() {
  if (fd_ >= 0) close(fd_);
}

ScxMaps::~ScxMaps() {
  // Not when the kernel gets to closing it: the next may be attached at once.
  if (pins_path.empty() && link.get() >= 0) bpf_link_detach(link.get());
  if (threads != nullptr)
    munmap(threads, SizeOf<ScxThread>(control->max_threads));
  if (cores != nullptr) munmap(cores, SizeOf<ScxCore>(kScxCpus));
  if (queues != nullptr) munmap(queues, SizeOf<ScxQueue>(kScxQueues));
  if (transactions != nullptr)
    munmap(transactions, SizeOf<Transaction>(kScxCpus * kScxGroup));
  if (control != nullptr) munmap(control, SizeOf<ScxControl>(1));
}

void ScxMaps::Unpin() {
  if (pins_path.empty()) return;
  unlink(PathOf(pins_path, kLinkPin).c_str());
  for (const Pin& pin : kMapPins) unlink(PathOf(pins_path, pin.name).c_str());
  for (const Pin& pin : kProgramPins)
    unlink(PathOf(pins_path, pin.name).c_str());
  rmdir(pins_path.c_str());
}

Result<std::unique_ptr<ScxMaps>> LoadScx(const ScxOptions& options) {
  auto maps = std::make_unique<ScxMaps>();
  if (!options.pins.empty()) {
    if (auto locked = LockPins(*maps, options); !locked)
      return tl::unexpected(locked.error());
    if (FindPins(*maps)) {
      if (auto same = CheckSame(*maps, options); !same)
        return tl::unexpected(same.error());
      munmap(std::exchange(maps->control, nullptr), SizeOf<ScxControl>(1));
      if (auto mapped = MapAll(*maps, options.max_threads); !mapped)
        return tl::unexpected(mapped.error());
      Adjust(*maps, options);
      maps->resumed = true;
      return maps;
    }
    // Of a scheduler that is gone.
    if (maps->control != nullptr)
      munmap(std::exchange(maps->control, nullptr), SizeOf<ScxControl>(1));
    maps->link = ScxFd();
    maps->Unpin();
    mkdir(options.pins.c_str(), 0700);
    maps->pins = ScxFd();
    if (auto locked = LockPins(*maps, options); !locked)
      return tl::unexpected(locked.error());
  }
  if (auto loaded = LoadNew(*maps, options); !loaded)
    return tl::unexpected(loaded.error());
  return maps;
}

}  // namespace yamanote::native
