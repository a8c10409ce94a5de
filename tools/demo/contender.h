// contender.h - a server to compare, and how it is started.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/demo/server_process.h"
#include "tools/report/report.h"
#include "yamanote/result.h"

namespace yamanote::demo {

// One of our presets or any server that speaks memcached's protocol.
struct Contender {
  std::string name;
  // The words of the command; "{port}" and "{cpus}" are replaced in each.
  std::vector<std::string> argv;
  bool prints_ready = true;
  report::SchedulerFacts facts{};
  // Its slices end: when it is stopped it prints how many (slices.h).
  bool has_slice = false;
};

// Returns the contender for `preset`; `program` is the yamanote to run.
// kNotFound lists the presets that there are.
Result<Contender> PresetContender(const std::string& preset,
                                  const std::string& program);

// Reads "NAME=COMMAND"; COMMAND is run by /bin/sh and must contain {port}.
Result<Contender> ForeignContender(const std::string& text);

// Returns what starts `contender` on `cpus`, listening on `port`.
ServerCommand CommandOf(const Contender& contender,
                        const std::vector<int>& cpus, uint16_t port);

}  // namespace yamanote::demo
