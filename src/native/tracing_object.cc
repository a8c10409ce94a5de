// tracing_object.cc - loads the BPF programs from memory and attaches them.

#include "native/tracing_object.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

// From tracing_object.S.
extern "C" const char yamanote_tracing_object[];
extern "C" const char yamanote_tracing_object_end[];

namespace yamanote::native {

namespace {

// What libbpf says meanwhile; the last of it goes into the error.
thread_local std::string* said = nullptr;

int Say(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG || said == nullptr) return 0;
  char line[16384];
  const int length = vsnprintf(line, sizeof line, format, arguments);
  if (length > 0) said->append(line);
  if (said->size() > 600) said->erase(0, said->size() - 600);
  return 0;
}

class Listening {
 public:
  Listening() : before_(libbpf_set_print(Say)) { said = &text; }
  ~Listening() {
    said = nullptr;
    libbpf_set_print(before_);
  }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
  std::string text;

 private:
  libbpf_print_fn_t before_;
};

bool HasCapability(int capability) {
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return (data[capability / 32].effective >> (capability % 32) & 1) != 0;
}

// BPF programs see the numbers of the initial namespace.
bool HasOwnPids() {
  char link[64] = {};
  const ssize_t length = readlink("/proc/self/ns/pid", link, sizeof link - 1);
  return length > 0 && std::string_view(link) != "pid:[4026531836]";
}

Result<void> CheckMachine() {
  if (!HasCapability(CAP_SYS_ADMIN) &&
      (!HasCapability(CAP_BPF) || !HasCapability(CAP_PERFMON))) {
    return MakeError(
        ErrorCode::kPermissionDenied,
        "tracing needs the capabilities CAP_BPF and CAP_PERFMON, which this "
        "process lacks; run it as root, or give it cap_bpf, cap_perfmon and "
        "cap_sys_nice",
        EPERM);
  }
  if (!HasCapability(CAP_SYS_NICE)) {
    return MakeError(ErrorCode::kPermissionDenied,
                     "tracing gives threads real-time priorities, for which "
                     "this process lacks CAP_SYS_NICE; run it as root, or give "
                     "it cap_sys_nice",
                     EPERM);
  }
  if (HasOwnPids()) {
    return MakeError(ErrorCode::kUnsupported,
                     "this process numbers processes differently from the "
                     "kernel, as in a container; run it in the host's process "
                     "namespace (for example with --pid=host)");
  }
  if (access("/sys/kernel/btf/vmlinux", R_OK) != 0) {
    return MakeError(ErrorCode::kUnsupported,
                     "the kernel has no type information: "
                     "/sys/kernel/btf/vmlinux cannot be read; use a kernel "
                     "built with CONFIG_DEBUG_INFO_BTF, 5.8 or newer",
                     errno);
  }
  return {};
}

tl::unexpected<Error> Refused(int error_number, std::string_view step,
                              std::string_view detail) {
  const ErrorCode code = error_number == EPERM || error_number == EACCES
                             ? ErrorCode::kPermissionDenied
                         : error_number == ENOMEM
                             ? ErrorCode::kResourceExhausted
                             : ErrorCode::kUnsupported;
  while (!detail.empty() && detail.back() == '\n') detail.remove_suffix(1);
  return MakeError(
      code,
      fmt::format("the kernel refused tracing's BPF programs: {}: {}. They "
                  "need Linux 5.8 or newer, CONFIG_BPF_EVENTS and the "
                  "capabilities CAP_BPF, CAP_PERFMON and CAP_SYS_NICE. libbpf "
                  "says: {}",
                  step, std::strerror(error_number),
                  detail.empty() ? "nothing" : detail),
      error_number);
}

// The tracepoint's arguments, and before them a pointer for whoever is attached.
bool SwitchHasState() {
  btf* const kernel = btf__load_vmlinux_btf();
  if (libbpf_get_error(kernel) != 0) return true;
  bool has = true;
  const int id = btf__find_by_name_kind(kernel, "btf_trace_sched_switch",
                                        BTF_KIND_TYPEDEF);
  const btf_type* type = id > 0 ? btf__type_by_id(kernel, id) : nullptr;
  for (int i = 0; i < 2 && type != nullptr; ++i)
    type = btf__type_by_id(kernel, type->type);
  if (type != nullptr && btf_is_func_proto(type)) has = btf_vlen(type) >= 5;
  btf__free(kernel);
  return has;
}

}  // namespace

Result<std::unique_ptr<TracingObject>> TracingObject::Load(
    const Options& options) {
  if (auto able = CheckMachine(); !able) return tl::unexpected(able.error());
  std::unique_ptr<TracingObject> object(new TracingObject);
  if (auto opened = object->Open(options); !opened)
    return tl::unexpected(opened.error());
  return object;
}

Result<void> TracingObject::Open(const Options& options) {
  const Listening listening;
  bpf_object_open_opts open{};
  open.sz = sizeof open;
  open.object_name = "yamanote";
  object_ = bpf_object__open_mem(
      yamanote_tracing_object,
      static_cast<std::size_t>(yamanote_tracing_object_end -
                               yamanote_tracing_object),
      &open);
  if (object_ == nullptr) return Refused(errno, "opening", listening.text);

  const auto cores = static_cast<uint32_t>(options.cpus.size());
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_) {
    const std::string_view name = bpf_map__name(map);
    if (name == "threads" || name == "indices" || name == "unused_indices")
      bpf_map__set_max_entries(map, options.max_threads);
    if (name == "queues" || name == "rings")
      bpf_map__set_max_entries(map, options.max_queues);
    if (name == "agents") bpf_map__set_max_entries(map, cores);
    if (!name.ends_with(".rodata")) continue;
    TracedConstants constants{};
    constants.has_state_argument = SwitchHasState() ? 1 : 0;
    for (uint32_t core = 0; core < cores; ++core)
      constants.core_of_cpu[options.cpus[core]] =
          static_cast<uint16_t>(core + 1);
    if (const int error =
            bpf_map__set_initial_value(map, &constants, sizeof constants);
        error != 0)
      return Refused(-error, "its constants", listening.text);
  }
  if (const int error = bpf_object__load(object_); error != 0)
    return Refused(-error, "loading", listening.text);

  indices_ = DescriptorOf("indices");
  unused_ = DescriptorOf("unused_indices");
  rings_ = DescriptorOf("rings");
  if (auto done = Map("threads", options.max_threads, threads_); !done)
    return done;
  if (auto done = Map("queues", options.max_queues, queues_); !done)
    return done;
  if (auto done = Map("agents", cores, agents_); !done) return done;
  if (auto done = Map("shared", 1, common_); !done) return done;
  if (auto done = Map("strays", kTracedStrays, strays_); !done) return done;
  common_->new_queue = kTracedNoQueue;
  for (uint32_t index = 0; index < options.max_threads; ++index)
    GiveIndex(index);

  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_) {
    bpf_link* const link = bpf_program__attach(program);
    if (link == nullptr)
      return Refused(errno,
                     fmt::format("attaching {}", bpf_program__name(program)),
                     listening.text);
    links_.push_back(link);
  }
  return {};
}

TracingObject::~TracingObject() {
  for (bpf_link* const link : links_) bpf_link__destroy(link);
  for (const auto& [memory, size] : mappings_) munmap(memory, size);
  bpf_object__close(object_);
}

template <typename T>
Result<void> TracingObject::Map(const char* name, uint32_t count, T*& memory) {
  // As the kernel lays an array out: each value begins at a multiple of 8 bytes.
  static_assert(sizeof(T) % 8 == 0);
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t size = (count * sizeof(T) + page - 1) / page * page;
  void* const at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED,
                        DescriptorOf(name), 0);
  if (at == MAP_FAILED)
    return Refused(errno, fmt::format("mapping {}", name), "");
  mappings_.emplace_back(at, size);
  memory = static_cast<T*>(at);
  return {};
}

int TracingObject::DescriptorOf(const char* name) const {
  return bpf_object__find_map_fd_by_name(object_, name);
}

bool TracingObject::TakeIndex(uint32_t& index) {
  return bpf_map_lookup_and_delete_elem(unused_, nullptr, &index) == 0;
}

void TracingObject::GiveIndex(uint32_t index) {
  bpf_map_update_elem(unused_, nullptr, &index, BPF_ANY);
}

bool TracingObject::Watch(pid_t tid, uint32_t index) {
  return bpf_map_update_elem(indices_, &tid, &index, BPF_NOEXIST) == 0;
}

bool TracingObject::Unwatch(pid_t tid) {
  return bpf_map_delete_elem(indices_, &tid) == 0;
}

bool TracingObject::FindIndex(pid_t tid, uint32_t& index) const {
  return bpf_map_lookup_elem(indices_, &tid, &index) == 0;
}

Result<int> TracingObject::CreateRing(uint32_t queue, uint32_t bytes) {
  const int ring = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "yamanote_queue", 0, 0,
                                  bytes, nullptr);
  if (ring < 0) {
    return MakeError(ErrorCode::kResourceExhausted,
                     fmt::format("a queue of {} bytes cannot be had: {}; ask "
                                 "for a shorter one",
                                 bytes, std::strerror(errno)),
                     errno);
  }
  if (bpf_map_update_elem(rings_, &queue, &ring, BPF_ANY) == 0) return ring;
  const int error_number = errno;
  close(ring);
  return MakeError(ErrorCode::kInternal,
                   fmt::format("queue {} cannot be given to the BPF programs: "
                               "{}",
                               queue, std::strerror(error_number)),
                   error_number);
}

void TracingObject::RemoveRing(uint32_t queue) {
  bpf_map_delete_elem(rings_, &queue);
}

std::vector<int> TracingObject::LinkDescriptors() const {
  std::vector<int> descriptors;
  descriptors.reserve(links_.size());
  for (const bpf_link* const link : links_)
    descriptors.push_back(bpf_link__fd(link));
  return descriptors;
}

}  // namespace yamanote::native
