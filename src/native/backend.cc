// backend.cc - which back-end an enclave gets.

#include "native/backend.h"

#include <fmt/format.h>

#include <utility>

#include "native/claims.h"
#include "native/scx.h"
#include "native/scx_enclave.h"
#include "native/tracing.h"

namespace yamanote::native {

namespace {

// All that is in the way of sched_ext here, a line each.
std::vector<std::string> WhyNotScx(const BackendOptions& options) {
  std::vector<std::string> why = ScxKernel::Missing();
  if (const pid_t holder = ScxHolder(); holder != 0) {
    why.push_back(
        fmt::format("process {} has it for its enclave, which `yamanote native "
                    "list` shows and `yamanote native destroy` ends",
                    holder));
  }
  if (options.watchdog > kMostScxWatchdog) {
    why.emplace_back(
        "the watchdog is longer than 30s, the kernel's most (--watchdog)");
  }
  return why;
}

std::string Listed(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "\n  - " + line;
  return text;
}

template <typename B>
Result<MadeBackend> Made(Result<std::unique_ptr<B>> backend,
                         std::string why_not_scx) {
  if (!backend) return tl::unexpected(backend.error());
  return MadeBackend{.backend = *std::move(backend),
                     .why_not_scx = std::move(why_not_scx)};
}

}  // namespace

std::string_view ToString(BackendKind kind) {
  switch (kind) {
    case BackendKind::kAuto:
      return "auto";
    case BackendKind::kScx:
      return "scx";
    case BackendKind::kTracing:
      return "tracing";
  }
  return "";
}

Result<MadeBackend> MakeBackend(BackendKind kind,
                                const BackendOptions& options) {
  std::string why;
  if (kind != BackendKind::kTracing) {
    const std::vector<std::string> missing = WhyNotScx(options);
    if (kind == BackendKind::kScx && !missing.empty()) {
      return MakeError(
          ErrorCode::kUnsupported,
          fmt::format("back-end scx cannot be had here:{}\nput that right, or "
                      "use back-end tracing (--backend auto takes what there "
                      "is)",
                      Listed(missing)));
    }
    if (missing.empty()) {
      auto scx = MakeScxBackend(options);
      // What is wrong with the options would be with another, too.
      if (scx || kind == BackendKind::kScx ||
          scx.error().code == ErrorCode::kInvalidArgument)
        return Made(std::move(scx), "");
      why = scx.error().message;
    } else {
      why = missing.front();
    }
  }
  return Made(TracingKernel::Create({.cpus = options.cpus,
                                     .max_threads = options.max_threads,
                                     .watchdog = options.watchdog}),
              std::move(why));
}

}  // namespace yamanote::native
