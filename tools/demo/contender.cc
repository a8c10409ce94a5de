// contender.cc - what is known of a preset and of a foreign command.

#include "tools/demo/contender.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>

#include "yamanote/scheduling.h"
#include "yamanote/time.h"

namespace yamanote::demo {
namespace {

std::string Replace(std::string text, std::string_view what,
                    std::string_view with) {
  for (size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
  return text;
}

std::string Text(const SliceRange& slice) {
  const auto us = [](Duration duration) {
    return static_cast<double>(ToNanos(duration)) / 1e3;
  };
  if (slice.least == kNoPreemption) return "none";
  if (!slice.Adapts()) return fmt::format("{:g} µs", us(slice.least));
  return fmt::format("{:g} to {:g} µs, adapts", us(slice.least),
                     us(slice.most));
}

}  // namespace

Result<Contender> PresetContender(const std::string& preset,
                                  const std::string& program) {
  const Result<Scheduling> found = FindPreset(preset);
  if (!found) return tl::unexpected(found.error());
  Contender contender;
  contender.name = preset;
  contender.argv = {program,
                    "serve",
                    "kv",
                    "--preset",
                    preset,
                    "--listen",
                    "127.0.0.1:{port}",
                    "--cores",
                    "{cpus}",
                    "--json"};  // Of its statistics.
  contender.has_slice = found->slice != kNoPreemption;
  contender.facts.label = preset;
  for (const PresetInfo& info : Presets()) {
    if (info.name == preset) contender.facts.summary = info.summary;
  }
  std::vector<report::Fact>& config = contender.facts.config;
  config.emplace_back("order", found->order);
  config.emplace_back("slice", Text(found->slice));
  if (contender.has_slice)
    config.emplace_back("rejoin", ToString(found->rejoin));
  config.emplace_back("placement", ToString(found->placement));
  if (found->placement == PlacementKind::kCentral) {
    config.emplace_back("dispatcher", ToString(found->dispatcher));
    config.emplace_back("slots", fmt::format("{}", found->slots));
  }
  if (found->placement == PlacementKind::kTwoLevel)
    config.emplace_back("steal", found->steal ? "yes" : "no");
  config.emplace_back("replies", ToString(found->replies));
  return contender;
}

Result<Contender> ForeignContender(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos ||
      text.find("{port}", equals) == std::string::npos) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "--also is '{}'; it must be NAME=COMMAND with {{port}} "
            "in the command, for example "
            "'memcached=memcached -u nobody -l 127.0.0.1 -t 2 -p {{port}}'",
            text));
  }
  Contender contender;
  contender.name = text.substr(0, equals);
  const std::string command = text.substr(equals + 1);
  contender.argv = {"/bin/sh", "-c", command};
  contender.prints_ready = false;
  contender.facts = {.label = contender.name,
                     .summary = "A server of its own, not Yamanote's.",
                     .config = {{"command", command}}};
  return contender;
}

ServerCommand CommandOf(const Contender& contender,
                        const std::vector<int>& cpus, uint16_t port) {
  ServerCommand command{.name = contender.name,
                        .argv = contender.argv,
                        .cpus = cpus,
                        .port = port,
                        .prints_ready = contender.prints_ready};
  for (std::string& word : command.argv) {
    word = Replace(word, "{port}", fmt::format("{}", port));
    word = Replace(word, "{cpus}", fmt::format("{}", fmt::join(cpus, ",")));
  }
  return command;
}

}  // namespace yamanote::demo
