// account.cc - the sums behind every figure of a load result.

#include "tools/load/account.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace yamanote::load {
namespace {

// Silent is a server that answers nothing in the last tenth of the window, if at
// least this many requests were due then.
constexpr int64_t kSilentShares = 10;
constexpr uint64_t kSilentRequests = 10;

bool InWindow(const Sample& sample, Window window) {
  return sample.intended_ns >= window.begin_ns &&
         sample.intended_ns < window.end_ns;
}

bool Disturbed(const Sample& sample, const GapLog& gaps) {
  return sample.status == Status::kAnswered &&
         gaps.Overlaps(sample.intended_ns, sample.received_ns);
}

void Record(Tally& tally, int64_t latency_ns, double base_ns) {
  tally.latency_ns.Record(
      static_cast<uint64_t>(std::max<int64_t>(latency_ns, 0)));
  if (base_ns > 0) {
    tally.slowdown_milli.Record(static_cast<uint64_t>(std::llround(
        1000 * static_cast<double>(std::max<int64_t>(latency_ns, 0)) /
        base_ns)));
  }
}

void RecordInfinite(Tally& tally, double base_ns) {
  tally.latency_ns.RecordInfinite();
  if (base_ns > 0) tally.slowdown_milli.RecordInfinite();
}

Figures Latency(const Tally& tally) {
  return ReadFigures(tally.latency_ns, 1e3);
}
Figures Slowdown(const Tally& tally) {
  return ReadFigures(tally.slowdown_milli, 1e3);
}

}  // namespace

void ClassAccount::Merge(const ClassAccount& other) {
  all.Merge(other.all);
  undisturbed.Merge(other.undisturbed);
  sent += other.sent;
  answered += other.answered;
  lost += other.lost;
  refused += other.refused;
}

Account::Account(const Workload& workload, std::vector<double> floors_us)
    : classes_(workload.classes()),
      application_(workload.application()),
      floors_us_(std::move(floors_us)),
      by_class_(classes_.size()) {}

double Account::BaseNanos(const Sample& sample) const {
  if (application_ == Application::kSpin) return sample.service_ns;
  const double floor_us = floors_us_[sample.request_class];
  return std::isnan(floor_us) ? 0 : floor_us * 1e3;
}

void Account::AddSample(const Sample& sample, const GapLog& gaps) {
  ++due_;
  const double base_ns = BaseNanos(sample);
  const bool answered = sample.status == Status::kAnswered;
  const bool refused = sample.status == Status::kRefused;
  const bool disturbed = Disturbed(sample, gaps);
  gaps_.tagged += disturbed ? 1 : 0;
  if (sample.sent_ns >= 0) {
    late_max_ns_ = std::max(late_max_ns_, sample.sent_ns - sample.intended_ns);
  }
  if (answered) {
    from_send_ns_.Record(static_cast<uint64_t>(
        std::max<int64_t>(sample.received_ns - sample.sent_ns, 0)));
  }
  for (ClassAccount* account : {&total_, &by_class_[sample.request_class]}) {
    account->sent += sample.status != Status::kPlanned ? 1 : 0;
    account->answered += answered ? 1 : 0;
    account->refused += refused ? 1 : 0;
    account->lost += !answered && !refused ? 1 : 0;
    for (Tally* tally : {&account->all, &account->undisturbed}) {
      if (disturbed && tally == &account->undisturbed) continue;
      if (answered) {
        Record(*tally, sample.received_ns - sample.intended_ns, base_ns);
      } else {
        RecordInfinite(*tally, base_ns);
      }
    }
  }
}

void Account::AddRun(std::span<const ThreadLog> threads, Window window,
                     double gap_threshold_us) {
  gaps_.threshold_us = gap_threshold_us;
  window_s_ += static_cast<double>(window.end_ns - window.begin_ns) / 1e9;
  for (const ThreadLog& log : threads) {
    stopped_ |= log.stopped;
    counters_ += log.counters;
    busy_ = std::max(busy_, log.busy);
    for (const Sample& sample : log.samples) {
      // What an interrupted run never came to is not lost.
      if (log.stopped && sample.status == Status::kPlanned) continue;
      // Achieved load is what came back during the window, whenever it was sent:
      // an overloaded server must not be credited with answers of the drain.
      received_in_window_ += sample.status == Status::kAnswered &&
                             sample.received_ns >= window.begin_ns &&
                             sample.received_ns < window.end_ns;
      if (InWindow(sample, window)) AddSample(sample, log.gaps);
    }
    for (const Gap& gap : log.gaps.gaps()) {
      if (gap.end_ns < window.begin_ns || gap.start_ns > window.end_ns)
        continue;
      const auto length_us =
          static_cast<double>(gap.end_ns - gap.start_ns) / 1e3;
      ++gaps_.count;
      gaps_.total_us += length_us;
      gaps_.max_us = std::max(gaps_.max_us, length_us);
    }
  }
  CountLate(threads, window);
  NoticeSilence(threads, window);
}

// An overloaded server answers late, but it answers until the end.
void Account::NoticeSilence(std::span<const ThreadLog> threads, Window window) {
  int64_t last_ns = window.begin_ns;
  for (const ThreadLog& log : threads) {
    for (const Sample& sample : log.samples)
      last_ns = std::max(last_ns, sample.received_ns);
  }
  const int64_t silent_ns = window.end_ns - last_ns;
  if (silent_ns * kSilentShares < window.end_ns - window.begin_ns) return;
  uint64_t due = 0;
  for (const ThreadLog& log : threads) {
    due += static_cast<uint64_t>(
        std::ranges::count_if(log.samples, [&](const Sample& sample) {
          return sample.intended_ns >= last_ns && InWindow(sample, window);
        }));
  }
  if (due < kSilentRequests) return;
  silent_ns_ = std::max(silent_ns_, silent_ns);
  silent_due_ += due;
}

void Account::CountLate(std::span<const ThreadLog> threads, Window window) {
  const double p99 = from_send_ns_.Quantile(0.99);
  late_limit_ns_ = std::isnan(p99) ? 0 : p99;
  for (const ThreadLog& log : threads) {
    for (const Sample& sample : log.samples) {
      if (!InWindow(sample, window) || sample.sent_ns < 0) continue;
      const bool late =
          static_cast<double>(sample.sent_ns - sample.intended_ns) >
          late_limit_ns_;
      const bool disturbed = Disturbed(sample, log.gaps);
      late_ += late ? 1 : 0;
      undisturbed_ += disturbed ? 0 : 1;
      late_undisturbed_ += late && !disturbed ? 1 : 0;
    }
  }
}

void Account::Merge(const Account& other) {
  for (size_t i = 0; i < by_class_.size(); ++i)
    by_class_[i].Merge(other.by_class_[i]);
  total_.Merge(other.total_);
  from_send_ns_.Merge(other.from_send_ns_);
  counters_ += other.counters_;
  due_ += other.due_;
  received_in_window_ += other.received_in_window_;
  window_s_ += other.window_s_;
  late_ += other.late_;
  late_undisturbed_ += other.late_undisturbed_;
  undisturbed_ += other.undisturbed_;
  late_max_ns_ = std::max(late_max_ns_, other.late_max_ns_);
  late_limit_ns_ = std::max(late_limit_ns_, other.late_limit_ns_);
  gaps_.threshold_us = other.gaps_.threshold_us;
  gaps_.count += other.gaps_.count;
  gaps_.total_us += other.gaps_.total_us;
  gaps_.max_us = std::max(gaps_.max_us, other.gaps_.max_us);
  gaps_.tagged += other.gaps_.tagged;
  busy_ = std::max(busy_, other.busy_);
  stopped_ |= other.stopped_;
  silent_ns_ = std::max(silent_ns_, other.silent_ns_);
  silent_due_ += other.silent_due_;
}

Account::Verdict Account::Judge(uint64_t late, uint64_t sent) const {
  if (stopped_) return {false, "the run was interrupted before its end"};
  if (total_.answered == 0 && total_.lost == 0 && total_.refused > 0) {
    return {false,
            fmt::format("every request was refused ({}): the rate is beyond a "
                        "limit of the server, or it does not know these "
                        "requests",
                        total_.refused)};
  }
  if (total_.answered == 0) {
    return {false,
            fmt::format("no request was answered ({} lost, {} refused): is the "
                        "target the right service and protocol?",
                        total_.lost, total_.refused)};
  }
  if (silent_ns_ > 0) {
    return {false,
            fmt::format(
                "the server fell silent: nothing came back in the last "
                "{:.0f} ms of the run although {} requests were due "
                "then; did it end? (If each takes that long, raise --drain)",
                static_cast<double>(silent_ns_) / 1e6, silent_due_)};
  }
  const auto limit = static_cast<double>(sent) * kMaxLateShare;
  if (static_cast<double>(late) > limit) {
    return {
        false,
        fmt::format(
            "{:.2f}% of the requests were sent more than {:.0f} us late, the "
            "p99 from the actual send; at most 0.1% may be: lower the rate, "
            "use more --threads, or give the generator cores of its own "
            "with --cpus ({} gaps took {:.0f} us)",
            100.0 * static_cast<double>(late) / static_cast<double>(sent),
            late_limit_ns_ / 1e3, gaps_.count, gaps_.total_us)};
  }
  return {};
}

RunResult Account::ToRun(uint64_t seed) const {
  RunResult run;
  run.seed = seed;
  run.achieved_rps = static_cast<double>(received_in_window_) / window_s_;
  const Verdict verdict = Judge(late_, total_.sent);
  run.valid = verdict.valid;
  run.why_invalid = verdict.why;
  run.sent = total_.sent;
  run.late = late_;
  run.lost = total_.lost;
  run.refused = total_.refused;
  run.latency_us = Latency(total_.all);
  run.slowdown = Slowdown(total_.all);
  return run;
}

PointResult Account::ToPoint(double offered_rps) const {
  PointResult point;
  point.offered_rps = offered_rps;
  point.achieved_rps = static_cast<double>(received_in_window_) / window_s_;
  const Verdict verdict = Judge(late_, total_.sent);
  point.valid = verdict.valid;
  point.why_invalid = verdict.why;
  point.valid_undisturbed = Judge(late_undisturbed_, undisturbed_).valid;
  point.sent = total_.sent;
  point.answered = total_.answered;
  point.late = late_;
  point.generator_busy = busy_;
  point.late_max_us = static_cast<double>(late_max_ns_) / 1e3;
  point.lost = total_.lost;
  point.refused = total_.refused;
  point.duplicates = counters_.duplicates;
  point.unmatched = counters_.unmatched;
  point.misses = counters_.misses;
  point.closed_connections = counters_.closed_connections;
  point.latency_us = Latency(total_.all);
  point.slowdown = Slowdown(total_.all);
  point.latency_us_undisturbed = Latency(total_.undisturbed);
  point.slowdown_undisturbed = Slowdown(total_.undisturbed);
  point.gaps = gaps_;
  for (size_t i = 0; i < classes_.size(); ++i) {
    const ClassAccount& account = by_class_[i];
    ClassResult& out = point.classes.emplace_back();
    out.name = classes_[i].name;
    out.share = classes_[i].share;
    out.floor_us = floors_us_[i];
    out.sent = account.sent;
    out.answered = account.answered;
    out.lost = account.lost;
    out.refused = account.refused;
    out.latency_us = Latency(account.all);
    out.slowdown = Slowdown(account.all);
    out.latency_us_undisturbed = Latency(account.undisturbed);
    out.slowdown_undisturbed = Slowdown(account.undisturbed);
  }
  return point;
}

}  // namespace yamanote::load
