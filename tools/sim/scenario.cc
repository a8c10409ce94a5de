// scenario.cc - a configuration made into what can be simulated.

#include "tools/sim/scenario.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/topology.h"
#include "tools/config/options.h"
#include "tools/config/values.h"
#include "tools/doctor/costs.h"
#include "tools/sim/native.h"

namespace yamanote::simulation {
namespace {

using namespace std::chrono_literals;

// Where a class has no objective: what Shinjuku's paper sets for its two.
constexpr double kSloServices = 10;
// Of virtual time; sim::Timeline ends somewhat later.
constexpr double kMostDays = 20;

// "--service: " or "a.toml:3: ", for errors about one key.
std::string Origin(const tools::Config& config, std::string_view key) {
  const auto found = config.origins.find(key);
  return found == config.origins.end() ? std::string() : found->second + ": ";
}

Result<sim::Costs> BaseCosts(const std::string& text,
                             std::optional<sim::Costs>& measured) {
  if (text == "zero") return sim::Costs{};
  if (text == "measured") {
    const Result<base::Topology> topology = base::ReadTopology();
    if (!topology) return tl::unexpected(topology.error());
    if (!measured)
      measured = tools::SimulationCosts(tools::MeasureCosts(*topology, 3s));
    return *measured;
  }
  const Result<std::vector<tools::Setting>> settings = tools::ReadToml(text);
  if (!settings) return tl::unexpected(settings.error());
  for (const tools::Setting& setting : *settings) {
    if (setting.option->section == "costs") continue;
    return Wrong(
        fmt::format("{}: {} is not a cost; --costs reads [costs] only, "
                    "--scenario reads the rest",
                    setting.origin, setting.option->Name()));
  }
  const Result<tools::Config> read =
      tools::Build(*settings, tools::Use::kSimulate);
  if (!read) return tl::unexpected(read.error());
  return read->costs;
}

Result<sim::Costs> ReadCosts(const tools::Config& config,
                             std::optional<sim::Costs>& measured) {
  Result<sim::Costs> costs = BaseCosts(config.sim.costs, measured);
  if (!costs) return costs;
  const auto set = [&](std::string_view key, Duration sim::Costs::* field) {
    if (config.origins.contains(fmt::format("costs.{}", key)))
      (*costs).*field = config.costs.*field;
  };
  set("context_switch", &sim::Costs::context_switch);
  set("preempt_receiver", &sim::Costs::preempt_receiver);
  set("preempt_sender", &sim::Costs::preempt_sender);
  set("dispatch", &sim::Costs::dispatch);
  set("hop", &sim::Costs::hop);
  set("steal", &sim::Costs::steal);
  set("network", &sim::Costs::network);
  set("core_grant", &sim::Costs::core_grant);
  set("core_revoke", &sim::Costs::core_revoke);
  set("message", &sim::Costs::message);
  set("commit", &sim::Costs::commit);
  set("agent_wake", &sim::Costs::agent_wake);
  return costs;
}

// The classes of the requests, with what the configuration says of those.
Result<void> SetClasses(const tools::Config& config,
                        const std::vector<double>& means_ns,
                        Scenario& scenario) {
  const std::vector<std::string> names = ClassNames(scenario);
  scenario.scheduling.classes.clear();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double slo = std::clamp(kSloServices * means_ns[i], 1.0, 1e15);
    scenario.scheduling.classes.push_back(
        {.name = names[i], .slo = Duration(std::llround(slo))});
  }
  for (const tools::ClassSetting& setting : config.classes) {
    const auto known = std::ranges::find(scenario.scheduling.classes,
                                         setting.name, &ClassOptions::name);
    if (known == scenario.scheduling.classes.end()) {
      std::string list;
      for (const std::string& name : names)
        list += (list.empty() ? "" : ", ") + name;
      return Wrong(fmt::format(
          "{}: scheduling.classes = \"{}\", which the requests do not have; "
          "their classes are {}",
          setting.origin, setting.name, list));
    }
    *known = tools::WithSettings(*known, setting);
  }
  return {};
}

// Means of all and of each class, ns.
std::pair<double, std::vector<double>> Means(const Scenario& scenario) {
  std::vector<double> sums(ClassNames(scenario).size());
  std::vector<double> counts(sums.size());
  double all = 0;
  double count = 0;
  const auto add = [&](std::size_t one, double service) {
    sums[one] += service;
    ++counts[one];
    all += service;
    ++count;
  };
  if (scenario.trace != nullptr) {
    for (std::size_t i = 0; i < scenario.requests; ++i) {
      const TracedRequest& request = scenario.trace->requests[i];
      add(request.request_class, static_cast<double>(request.service_ns));
    }
  } else {
    base::Random random(1);
    // Of each class for itself, so that rare ones are known, too.
    constexpr int kSamples = 100'000;
    const auto& classes = scenario.workload.classes();
    for (std::size_t i = 0; i < classes.size(); ++i) {
      const int samples =
          classes[i].shape == load::Shape::kFixed ? 1 : kSamples;
      for (int n = 0; n < samples; ++n)
        add(i, std::max(scenario.workload.DrawService(static_cast<uint8_t>(i),
                                                      random),
                        1U));
    }
    all = count = 0;
    for (std::size_t i = 0; i < classes.size(); ++i)
      all += classes[i].share * sums[i] / counts[i];
    count = 1;
  }
  for (std::size_t i = 0; i < sums.size(); ++i)
    sums[i] = counts[i] > 0 ? sums[i] / counts[i] : 0;
  return {all / count, sums};
}

Result<void> ReadRequests(const tools::Config& config, Scenario& scenario) {
  const tools::SimSettings& sim = config.sim;
  if (!sim.trace.empty()) {
    for (const char* other :
         {"service", "load", "rate", "arrivals", "period"}) {
      const std::string key = fmt::format("sim.{}", other);
      if (!config.origins.contains(key)) continue;
      return Wrong(fmt::format(
          "{}{} is set, but sim.trace says when requests come and what they "
          "take; leave one of the two out",
          Origin(config, key), key));
    }
    Result<Trace> trace = ReadTrace(sim.trace);
    if (!trace) return tl::unexpected(trace.error());
    scenario.service = sim.trace;
    scenario.trace = std::make_shared<const Trace>(std::move(*trace));
    const std::vector<TracedRequest>& requests = scenario.trace->requests;
    scenario.requests = std::min<uint64_t>(
        requests.size(), config.origins.contains("sim.requests")
                             ? config.sim.requests
                             : requests.size());
    double length = static_cast<double>(requests[scenario.requests - 1].at_ns);
    for (std::size_t i = 0; i < scenario.requests; ++i)
      length += static_cast<double>(requests[i].service_ns);
    if (length > kMostDays * 86'400e9) {
      return Wrong(fmt::format(
          "{}: from the first to the last request, and what they take, are "
          "{:.0f} days; at most {:.0f} are simulated: cut it",
          sim.trace, length / 86'400e9, kMostDays));
    }
    return {};
  }
  if (sim.service.empty()) {
    return Wrong(
        "sim.service is not set; say how long requests take, for example "
        "--service exp:10us or --service bimodal:99.5%:5us,0.5%:500us");
  }
  Result<load::Workload> workload =
      load::Workload::Parse(load::Application::kSpin, sim.service);
  if (!workload) {
    return Wrong(Origin(config, "sim.service") + workload.error().message);
  }
  scenario.service = sim.service;
  scenario.workload = std::move(*workload);
  const Result<load::Arrivals> arrivals = load::Arrivals::Parse(sim.arrivals);
  if (!arrivals)
    return Wrong(Origin(config, "sim.arrivals") + arrivals.error().message);
  scenario.arrivals = *arrivals;
  scenario.arrivals_text = sim.arrivals;
  scenario.period = sim.period;
  scenario.swing = sim.swing;
  if (sim.period > Duration::zero() &&
      arrivals->kind != load::Arrivals::Kind::kPoisson) {
    return Wrong(fmt::format(
        "{}sim.period is set, but sim.arrivals is '{}'; a rate that rises and "
        "falls needs poisson",
        Origin(config, "sim.period"), sim.arrivals));
  }
  return {};
}

Result<void> ReadArbiter(const tools::Config& config, Scenario& scenario) {
  scenario.arbiter = config.arbiter;
  scenario.guaranteed = config.sim.guaranteed;
  scenario.batch = config.sim.batch;
  const CorePolicyOptions& policies = config.arbiter.policies;
  if (config.arbiter.interval == Duration::zero()) {
    for (const char* key : {"sim.guaranteed", "sim.batch"}) {
      if (!config.origins.contains(key)) continue;
      return Wrong(fmt::format(
          "{}{} is set, but arbiter.interval is none, so all cores are the "
          "application's; set --arbiter-interval, for example to 5us",
          Origin(config, key), key));
    }
    return {};
  }
  if (scenario.guaranteed > scenario.cores) {
    return Wrong(fmt::format(
        "{}sim.guaranteed is {}, but sim.cores is {}; lower it",
        Origin(config, "sim.guaranteed"), scenario.guaranteed, scenario.cores));
  }
  if (policies.delay_low > policies.delay_high) {
    return Wrong(fmt::format(
        "{}arbiter.delay_low is {}, above arbiter.delay_high, {}; lower it",
        Origin(config, "arbiter.delay_low"),
        tools::FormatDuration(policies.delay_low),
        tools::FormatDuration(policies.delay_high)));
  }
  if (policies.utilization_low > policies.utilization_high) {
    return Wrong(fmt::format(
        "{}arbiter.utilization_low is {}, above arbiter.utilization_high, {}; "
        "lower it",
        Origin(config, "arbiter.utilization_low"), policies.utilization_low,
        policies.utilization_high));
  }
  if (scenario.oracle) {
    return Wrong(fmt::format(
        "{}scheduling.order is '{}', an ideal that has all cores; leave the "
        "arbiter out",
        Origin(config, "arbiter.interval"), scenario.scheduling.order));
  }
  const Result<Scheduling> shared =
      ForArbiter(scenario.scheduling, scenario.cores);
  if (!shared)
    return Wrong(Origin(config, "arbiter.interval") + shared.error().message);
  scenario.scheduling = *shared;
  return {};
}

void SetRate(const tools::Config& config, Scenario& scenario) {
  const double ideal = 1e9 * scenario.cores / scenario.mean_service_ns;
  if (scenario.trace != nullptr) {
    const auto& requests = scenario.trace->requests;
    const double length = static_cast<double>(
        std::max<int64_t>(requests[scenario.requests - 1].at_ns, 1));
    scenario.rate_rps = 1e9 * static_cast<double>(scenario.requests) / length;
  } else {
    scenario.rate_rps = config.sim.rate != 0
                            ? static_cast<double>(config.sim.rate)
                            : config.sim.load * ideal;
  }
  scenario.load = scenario.rate_rps / ideal;
}

}  // namespace

std::string OrderName(const Scenario& scenario) {
  return scenario.oracle ? std::string(sim::ToString(*scenario.oracle))
                         : scenario.scheduling.order;
}

std::vector<std::string> ClassNames(const Scenario& scenario) {
  if (scenario.trace != nullptr) return scenario.trace->classes;
  std::vector<std::string> names;
  for (const load::RequestClass& one : scenario.workload.classes())
    names.push_back(one.name);
  return names;
}

Result<Scenario> MakeScenario(const tools::Config& config) {
  std::optional<sim::Costs> measured;
  return MakeScenario(config, measured);
}

Result<Scenario> MakeScenario(const tools::Config& config,
                              std::optional<sim::Costs>& measured) {
  Scenario scenario;
  scenario.scheduling = config.runtime.scheduling;
  scenario.oracle = sim::FindOracle(scenario.scheduling.order);
  scenario.cores = config.sim.cores;
  scenario.requests = config.sim.requests;
  scenario.connections = config.sim.connections;
  scenario.seed = config.sim.seed;
  scenario.runs = config.sim.runs;
  if (const Result<void> read = ReadArbiter(config, scenario); !read)
    return tl::unexpected(read.error());
  if (const Result<void> native = CheckNative(config, scenario); !native)
    return tl::unexpected(native.error());
  if (const Result<void> read = ReadRequests(config, scenario); !read)
    return tl::unexpected(read.error());
  const auto [mean, of_classes] = Means(scenario);
  scenario.mean_service_ns = mean;
  if (const Result<void> set = SetClasses(config, of_classes, scenario); !set)
    return tl::unexpected(set.error());
  SetRate(config, scenario);
  const double days =
      static_cast<double>(scenario.requests) / scenario.rate_rps / 86'400;
  if (days > kMostDays) {
    return Wrong(fmt::format(
        "{} requests at {:.3g} a second are {:.0f} days; at most {:.0f} are "
        "simulated: lower --requests",
        scenario.requests, scenario.rate_rps, days, kMostDays));
  }
  scenario.warmup = static_cast<uint64_t>(
      config.sim.warmup * static_cast<double>(scenario.requests));
  if (scenario.requests - scenario.warmup < 1) {
    return Wrong(fmt::format(
        "{} requests are {} after a warm-up of {}; there must be one: lower "
        "--warmup",
        scenario.requests, scenario.requests - scenario.warmup,
        scenario.warmup));
  }
  Result<sim::Costs> costs = ReadCosts(config, measured);
  if (!costs) return tl::unexpected(costs.error());
  scenario.costs = *costs;
  if (scenario.oracle && scenario.costs != sim::Costs{}) {
    return Wrong(fmt::format(
        "{}scheduling.order is '{}', which is an ideal: nothing costs anything "
        "under it; leave the costs out",
        Origin(config, "scheduling.order"), scenario.scheduling.order));
  }
  return scenario;
}

}  // namespace yamanote::simulation
