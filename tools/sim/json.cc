// json.cc - a scenario and its outcome as JSON.

#include "tools/sim/json.h"

#include <cmath>

#include "tools/config/values.h"
#include "tools/output/json.h"
#include "tools/version/build_info.h"

namespace yamanote::simulation {
namespace {

using Json = nlohmann::ordered_json;

void Add(Json& json, const std::string& name, const sim::Estimate& estimate) {
  json[name] = tools::JsonFigure(estimate.value);
  json[name + "_ci"] = {tools::JsonFigure(estimate.low),
                        tools::JsonFigure(estimate.high)};
}

Json ToJson(const sim::Figures& figures) {
  Json json = {{"samples", figures.samples}};
  Add(json, "mean", figures.mean);
  Add(json, "p50", figures.p50);
  Add(json, "p90", figures.p90);
  Add(json, "p99", figures.p99);
  Add(json, "p999", figures.p999);
  json["max"] = tools::JsonFigure(figures.max);
  return json;
}

Json ToJson(const sim::Costs& costs) {
  return {{"context_switch", costs.context_switch.count()},
          {"preempt_receiver", costs.preempt_receiver.count()},
          {"preempt_sender", costs.preempt_sender.count()},
          {"dispatch", costs.dispatch.count()},
          {"hop", costs.hop.count()},
          {"steal", costs.steal.count()},
          {"network", costs.network.count()},
          {"core_grant", costs.core_grant.count()},
          {"core_revoke", costs.core_revoke.count()},
          {"message", costs.message.count()},
          {"commit", costs.commit.count()},
          {"agent_wake", costs.agent_wake.count()}};
}

// null: there is none.
Json ArbiterJson(const Scenario& scenario) {
  const tools::ArbiterSettings& arbiter = scenario.arbiter;
  if (arbiter.interval == Duration::zero()) return nullptr;
  return {{"interval_ns", arbiter.interval.count()},
          {"park_after_ns", arbiter.park_after.count()},
          {"allocation", scenario.scheduling.allocation},
          {"delay_ns", arbiter.policies.delay.count()},
          {"delay_low_ns", arbiter.policies.delay_low.count()},
          {"delay_high_ns", arbiter.policies.delay_high.count()},
          {"utilization_low", arbiter.policies.utilization_low},
          {"utilization_high", arbiter.policies.utilization_high},
          {"guaranteed", scenario.guaranteed},
          {"batch", scenario.batch}};
}

Json ScenarioJson(const Scenario& scenario) {
  const Scheduling& s = scenario.scheduling;
  const bool dedicated =
      !scenario.oracle && HasDedicatedDispatcher(s, scenario.cores);
  return {{"preset", s.preset},
          {"order", OrderName(scenario)},
          {"slice", tools::FormatSlice(s.slice)},
          {"placement", ToString(s.placement)},
          {"dispatcher", dedicated                                ? "dedicated"
                         : s.placement == PlacementKind::kCentral ? "shared"
                                                                  : "none"},
          {"slots", s.slots},
          {"steal", s.steal},
          {"arbiter", ArbiterJson(scenario)},
          {"native", scenario.native},
          {"cores", scenario.cores},
          {"service", scenario.service},
          {"load", scenario.load},
          {"rate_rps", scenario.rate_rps},
          {"arrivals",
           scenario.trace != nullptr ? "trace" : scenario.arrivals_text},
          {"connections", scenario.connections},
          {"period", tools::FormatDuration(scenario.period)},
          {"swing", scenario.swing},
          {"requests", scenario.requests},
          {"warmup", scenario.warmup},
          {"seed", scenario.seed},
          {"runs", scenario.runs},
          {"costs_ns", ToJson(scenario.costs)}};
}

}  // namespace

Json ToJson(const Scenario& scenario, const Outcome& outcome) {
  Json json = {{"schema", kSchema}, {"version", tools::GetBuildInfo().version}};
  json.update(ScenarioJson(scenario));
  json["achieved_rps"] = outcome.achieved_rps;
  json["busy"] = outcome.busy;
  json["beside"] = tools::JsonFigure(outcome.beside);
  json["idle_beside_waiting"] = tools::JsonFigure(outcome.idle_beside_waiting);
  if (scenario.arbiter.interval != Duration::zero()) {
    json["cores_held"] = outcome.cores_held;
    json["efficiency"] = outcome.efficiency;
    json["grants_rps"] = outcome.grants_rps;
    json["batch_cores"] = outcome.batch_cores;
  }
  if (scenario.native) {
    json["commits"] = outcome.commits;
    json["failed_commits"] = outcome.failed_commits;
    json["messages"] = outcome.messages;
  }
  json["refused"] = outcome.refused;
  json["preemptions"] = outcome.preemptions;
  json["steals"] = outcome.steals;
  json["adaptive_slice_us"] =
      outcome.adaptive_slice == kNoPreemption
          ? Json(nullptr)
          : Json(static_cast<double>(outcome.adaptive_slice.count()) / 1000);
  json["latency_us"] = ToJson(outcome.classes.front().latency_us);
  json["slowdown"] = ToJson(outcome.classes.front().slowdown);
  Json classes = Json::array();
  for (const ClassOutcome& one : outcome.classes) {
    classes.push_back({{"name", one.name},
                       {"latency_us", ToJson(one.latency_us)},
                       {"slowdown", ToJson(one.slowdown)}});
  }
  json["classes"] = std::move(classes);
  return json;
}

}  // namespace yamanote::simulation
