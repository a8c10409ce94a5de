// scx_probe.cc - whether a kernel has what the sched_ext programs need, by its own word.

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <optional>

#include "native/scx_maps.h"

namespace yamanote::native {

namespace {

constexpr const char* kFolder = "/sys/kernel/sched_ext";

// Functions that the programs call, and when the kernel got the youngest.
constexpr std::array kFunctions = {
    "bpf_iter_scx_dsq_new",       "bpf_iter_scx_dsq_next",
    "bpf_iter_scx_dsq_destroy",   "scx_bpf_create_dsq",
    "scx_bpf_dsq_insert",         "scx_bpf_dsq_move",
    "scx_bpf_dsq_move_set_slice", "scx_bpf_dsq_move_to_local",
    "scx_bpf_reenqueue_local",    "scx_bpf_kick_cpu",
    "scx_bpf_dsq_nr_queued",      "scx_bpf_task_cpu",
    "scx_bpf_task_running",       "bpf_cpumask_test_cpu"};
constexpr std::array kCallbacks = {
    "select_cpu",  "enqueue",     "dispatch",   "tick",       "running",
    "stopping",    "quiescent",   "yield",      "set_weight", "set_cpumask",
    "cpu_acquire", "cpu_release", "init_task",  "enable",     "disable",
    "init",        "exit",        "timeout_ms", "flags"};

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<uint64_t> Enumerator(const btf* types, const char* type,
                                   std::string_view name) {
  const int id = btf__find_by_name_kind(types, type, BTF_KIND_ENUM64);
  if (id > 0) {
    const btf_type* const found =
        btf__type_by_id(types, static_cast<uint32_t>(id));
    for (int i = 0; i < btf_vlen(found); ++i) {
      const struct btf_enum64* const value = btf_enum64(found) + i;
      if (name == btf__name_by_offset(types, value->name_off))
        return btf_enum64_value(value);
    }
  }
  const int narrow = btf__find_by_name_kind(types, type, BTF_KIND_ENUM);
  if (narrow > 0) {
    const btf_type* const found =
        btf__type_by_id(types, static_cast<uint32_t>(narrow));
    for (int i = 0; i < btf_vlen(found); ++i) {
      const struct btf_enum* const value = btf_enum(found) + i;
      if (name == btf__name_by_offset(types, value->name_off))
        return static_cast<uint32_t>(value->val);
    }
  }
  return std::nullopt;
}

bool HasMember(const btf* types, int structure, std::string_view name) {
  const btf_type* const found =
      btf__type_by_id(types, static_cast<uint32_t>(structure));
  for (int i = 0; i < btf_vlen(found); ++i)
    if (name == btf__name_by_offset(types, btf_members(found)[i].name_off))
      return true;
  return false;
}

void ProbeTypes(const btf* types, ScxKernelFacts& facts) {
  const int ops =
      btf__find_by_name_kind(types, "sched_ext_ops", BTF_KIND_STRUCT);
  for (const char* const callback : kCallbacks) {
    if (ops > 0 && HasMember(types, ops, callback)) continue;
    facts.missing.push_back(
        fmt::format("the kernel's sched_ext_ops has no '{}'", callback));
    if (ops <= 0) break;
  }
  for (const char* const function : kFunctions) {
    if (btf__find_by_name_kind(types, function, BTF_KIND_FUNC) > 0) continue;
    facts.missing.push_back(fmt::format(
        "the kernel has no function {} for BPF programs; Linux 6.13 "
        "and later have all that is needed",
        function));
  }
  for (const char* const flag :
       {"SCX_OPS_SWITCH_PARTIAL", "SCX_OPS_ENQ_LAST"}) {
    const auto value = Enumerator(types, "scx_ops_flags", flag);
    if (!value)
      facts.missing.push_back(fmt::format("the kernel does not know {}", flag));
    facts.flags |= value.value_or(0);
  }
  // Where it exists it must be set: whoever is put back by cpu_release counts as unable to
  // migrate, since a program runs in its name, and would stay where it is.
  facts.flags |=
      Enumerator(types, "scx_ops_flags", "SCX_OPS_ENQ_MIGRATION_DISABLED")
          .value_or(0);
}

}  // namespace

ScxKernelFacts ProbeScx() {
  ScxKernelFacts facts;
  utsname system{};
  uname(&system);
  if (access(kFolder, F_OK) != 0) {
    facts.missing.push_back(fmt::format(
        "Linux {} is without sched_ext: there is no {}; it needs 6.13 or later "
        "with CONFIG_SCHED_CLASS_EXT=y",
        system.release, kFolder));
  }
  btf* const types = btf__load_vmlinux_btf();
  if (types == nullptr) {
    facts.missing.emplace_back(
        "the kernel's type information cannot be read from "
        "/sys/kernel/btf/vmlinux; it needs CONFIG_DEBUG_INFO_BTF=y");
  } else if (facts.missing.empty()) {
    ProbeTypes(types, facts);
  }
  btf__free(types);
  return facts;
}

std::vector<std::string> ScxKernel::Missing() {
  std::vector<std::string> missing = ProbeScx().missing;
  if (geteuid() != 0)
    missing.emplace_back(
        "only root may load a scheduler, and this is not root");
  const std::string state = FirstLine(fmt::format("{}/state", kFolder));
  if (!state.empty() && state != "disabled") {
    missing.push_back(
        fmt::format("the scheduler '{}' is attached ({}), and there can be one",
                    FirstLine(fmt::format("{}/root/ops", kFolder)), state));
  }
  return missing;
}

}  // namespace yamanote::native
