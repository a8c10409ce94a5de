// list.h - the arbiter's state as the JSON document yamanote.apps/1.

#pragma once

#include <string>

#include "arbiter/daemon.h"

namespace yamanote::tools {

// One document, without a line end. Strings in it are printable ASCII.
std::string ListJson(const arbiter::Status& status,
                     arbiter::DaemonOptions::Mode mode);

}  // namespace yamanote::tools
