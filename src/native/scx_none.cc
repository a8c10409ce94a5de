// scx_none.cc - what a build without sched_ext has in its place.

#include <string>
#include <vector>

#include "native/scx.h"
#include "native/scx_enclave.h"

namespace yamanote::native {

namespace {

constexpr const char* kNotBuilt =
    "this build is without sched_ext; configure with -DYAMANOTE_SCX=ON, which "
    "needs clang and libbpf 1.4 or later (docs/native-scx.md)";

}  // namespace

std::vector<std::string> ScxKernel::Missing() { return {kNotBuilt}; }

Result<std::unique_ptr<ScxKernel>> ScxKernel::Create(const ScxOptions&) {
  return MakeError(ErrorCode::kUnsupported, kNotBuilt);
}

Result<std::unique_ptr<Backend>> MakeScxBackend(const BackendOptions&) {
  return MakeError(ErrorCode::kUnsupported, kNotBuilt);
}

}  // namespace yamanote::native
