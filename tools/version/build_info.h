// build_info.h - facts about this build; build_info.cc is written by the build.

#pragma once

#include <string_view>

namespace yamanote::tools {

struct BuildInfo {
  std::string_view version;  // "0.1.0".
  std::string_view
      revision;  // git describe when it was built, "unknown" outside git.
  std::string_view build_type;  // CMAKE_BUILD_TYPE.
  std::string_view compiler;    // Name and version.
  std::string_view target;      // Processor architecture.
  std::string_view sanitizers;  // "none", "address, undefined" or "thread".
};

const BuildInfo& GetBuildInfo();

}  // namespace yamanote::tools
