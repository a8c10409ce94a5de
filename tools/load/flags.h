// flags.h - the flags of `yamanote load`, as they were written.

#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "tools/load/workload.h"

namespace yamanote::load {

struct Flags {
  std::string target;
  std::string rate;
  std::string rates;
  std::string objective;
  std::string rate_range;
  double precision = 0.05;
  bool undisturbed = false;
  double duration = 5;
  double warmup = 0.5;
  double drain = 1;
  std::string service;
  std::string protocol = "";
  std::string arrivals = "poisson";
  unsigned connections = 16;
  unsigned threads = 1;
  unsigned repeat = 1;
  std::string combine = "sum";
  uint64_t seed = 1;
  std::string cpus;
  std::string gap_threshold = "auto";
  uint32_t keys = 10'000;
  uint32_t value_bytes = 100;
  std::string popularity = "uniform";
  std::string json;
  std::string html;
  std::string record;
  std::string label;
  bool progress = false;
};

// The footer of `yamanote load` itself.
std::string LoadFooter();

// Adds the flags, and a footer with examples, for one application.
void AddFlags(CLI::App& command, Flags& flags, Application application);

}  // namespace yamanote::load
