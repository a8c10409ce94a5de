// tracing_stub.cc - what there is of tracing.h in a build without libbpf.

#include "native/tracing.h"

namespace yamanote::native {

Result<std::unique_ptr<TracingKernel>> TracingKernel::Create(const Options&) {
  return MakeError(
      ErrorCode::kUnsupported,
      "this Yamanote was built without libbpf or without a clang that compiles "
      "BPF programs; install both (packaging/install-deps.sh native: "
      "libbpf-dev, clang-19) and build again");
}

}  // namespace yamanote::native
