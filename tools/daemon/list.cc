// list.cc - writes yamanote.apps/1.

#include "tools/daemon/list.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tools/output/json.h"
#include "tools/version/build_info.h"

namespace yamanote::tools {
namespace {

using Json = nlohmann::ordered_json;

Json AppJson(const arbiter::AppStatus& app) {
  Json cores = Json::array();
  for (const arbiter::HeldCore& core : app.cores) {
    cores.push_back({{"core", core.core},
                     {"cpu", core.cpu},
                     {"state", arbiter::ToString(core.state)},
                     {"why", arbiter::ToString(core.why)}});
  }
  const arbiter::AppCounters& counters = app.counters;
  return {{"name", app.name},
          {"pid", app.pid},
          {"uid", app.uid},
          {"policy", app.policy},
          {"guaranteed", app.limits.guaranteed},
          {"most", app.limits.most},
          {"best_effort", app.limits.best_effort},
          {"opaque", app.opaque},
          {"wants_more", app.wants},
          {"cores", std::move(cores)},
          {"grants", counters.grants},
          {"revocations", counters.revocations},
          {"late_signals", counters.signals},
          {"forced_moves", counters.moves},
          {"no_shows", counters.no_shows},
          {"ignored_forgeries", counters.forgeries},
          {"refused_calls", counters.refusals}};
}

}  // namespace

std::string ListJson(const arbiter::Status& status,
                     arbiter::DaemonOptions::Mode mode) {
  Json apps = Json::array();
  for (const arbiter::AppStatus& app : status.apps)
    apps.push_back(AppJson(app));
  const arbiter::PassTimes& times = status.times;
  const int64_t mean =
      times.passes == 0
          ? 0
          : times.total.count() / static_cast<int64_t>(times.passes);
  const Json document = {{"schema", "yamanote.apps/1"},
                         {"version", GetBuildInfo().version},
                         {"pid", getpid()},
                         {"mode", arbiter::ToString(mode)},
                         {"cpus", status.cpus},
                         {"guaranteed", status.guaranteed},
                         {"passes", times.passes},
                         {"pass_mean_ns", mean},
                         {"pass_max_ns", times.longest.count()},
                         {"apps", std::move(apps)}};
  return JsonText(document);
}

}  // namespace yamanote::tools
