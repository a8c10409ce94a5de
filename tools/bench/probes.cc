// probes.cc - times both builds of every kernel in turn.

#include "tools/bench/probes.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/bench/kernels/fastest.h"
#include "tools/bench/kernels/kernels.h"

namespace yamanote::bench {

extern "C" {
extern const KernelTable yamanote_kernels_plain_0;
extern const KernelTable yamanote_kernels_plain_8;
extern const KernelTable yamanote_kernels_plain_16;
extern const KernelTable yamanote_kernels_plain_24;
extern const KernelTable yamanote_kernels_plain_32;
extern const KernelTable yamanote_kernels_plain_40;
extern const KernelTable yamanote_kernels_plain_48;
extern const KernelTable yamanote_kernels_plain_56;
extern const KernelTable yamanote_kernels_probes_0;
extern const KernelTable yamanote_kernels_probes_8;
extern const KernelTable yamanote_kernels_probes_16;
extern const KernelTable yamanote_kernels_probes_24;
extern const KernelTable yamanote_kernels_probes_32;
extern const KernelTable yamanote_kernels_probes_40;
extern const KernelTable yamanote_kernels_probes_48;
extern const KernelTable yamanote_kernels_probes_56;
}

namespace {

struct Layout {
  int offset;
  const KernelTable& plain;
  const KernelTable& probes;
};

const Layout kLayouts[] = {
    {0, yamanote_kernels_plain_0, yamanote_kernels_probes_0},
    {8, yamanote_kernels_plain_8, yamanote_kernels_probes_8},
    {16, yamanote_kernels_plain_16, yamanote_kernels_probes_16},
    {24, yamanote_kernels_plain_24, yamanote_kernels_probes_24},
    {32, yamanote_kernels_plain_32, yamanote_kernels_probes_32},
    {40, yamanote_kernels_plain_40, yamanote_kernels_probes_40},
    {48, yamanote_kernels_plain_48, yamanote_kernels_probes_48},
    {56, yamanote_kernels_plain_56, yamanote_kernels_probes_56},
};

// One kernel: its place in every table, its times so far.
struct Subject {
  size_t index = 0;
  std::vector<LayoutTimes> times;
};

std::vector<Subject> Choose(const std::vector<std::string>& names) {
  std::vector<Subject> subjects;
  for (size_t i = 0; i < yamanote_kernels_plain_0.count; ++i) {
    if (!names.empty() &&
        std::ranges::find(names, yamanote_kernels_plain_0.kernels[i].name) ==
            names.end())
      continue;
    Subject& subject = subjects.emplace_back(Subject{.index = i});
    for (const Layout& layout : kLayouts)
      subject.times.push_back({.layout = layout.offset});
  }
  return subjects;
}

// Times both builds in all layouts once; which of the two goes first changes.
Result<void> MeasureOnce(Subject& subject, unsigned round) {
  for (size_t i = 0; i < std::size(kLayouts); ++i) {
    const Kernel& plain = kLayouts[i].plain.kernels[subject.index];
    const Kernel& probes = kLayouts[i].probes.kernels[subject.index];
    const bool plain_first = (round + i) % 2 == 0;
    const Timing first = FastestRun(plain_first ? plain : probes);
    const Timing second = FastestRun(plain_first ? probes : plain);
    if (first.result != second.result) {
      return MakeError(
          ErrorCode::kInternal,
          fmt::format("kernel {} returns {} without probes and {} with them: "
                      "the compiler's plug-in broke it; please report it",
                      plain.name, plain_first ? first.result : second.result,
                      plain_first ? second.result : first.result));
    }
    subject.times[i].plain_ns.push_back((plain_first ? first : second).ns);
    subject.times[i].probes_ns.push_back((plain_first ? second : first).ns);
  }
  return {};
}

double Median(const std::vector<LayoutTimes>& times,
              std::vector<int64_t> LayoutTimes::* which) {
  std::vector<double> all;
  for (const LayoutTimes& layout : times)
    all.insert(all.end(), (layout.*which).begin(), (layout.*which).end());
  return Quartiles(std::move(all)).median;
}

}  // namespace

std::vector<std::string> KernelNames() {
  std::vector<std::string> names;
  for (const Kernel& kernel : yamanote_kernels_plain_0)
    names.emplace_back(kernel.name);
  return names;
}

Result<ProbesResult> RunProbes(const ProbesOptions& options) {
  ProbesResult result;
  result.runs = kRuns;
  std::vector<Subject> subjects = Choose(options.kernels);
  const Instant start = Clock::now();
  while (result.rounds == 0 || (result.rounds < options.rounds &&
                                Clock::now() - start < options.budget)) {
    for (Subject& subject : subjects) {
      if (options.progress) {
        options.progress(yamanote_kernels_plain_0.kernels[subject.index].name,
                         result.rounds);
      }
      if (auto measured = MeasureOnce(subject, result.rounds); !measured)
        return tl::unexpected(measured.error());
    }
    ++result.rounds;
  }

  std::vector<std::vector<double>> overheads;
  for (Subject& subject : subjects) {
    const Kernel& kernel = kLayouts[0].probes.kernels[subject.index];
    overheads.push_back(RoundOverheads(subject.times));
    result.kernels.push_back(
        {.name = std::string(kernel.name),
         .n = kernel.n,
         .plain_ns = Median(subject.times, &LayoutTimes::plain_ns),
         .probes_ns = Median(subject.times, &LayoutTimes::probes_ns),
         .overhead = Quartiles(overheads.back()),
         .gaps = MeasureGaps(kernel),
         .times = std::move(subject.times)});
  }
  result.overhead = Quartiles(MeanOverheads(overheads));
  return result;
}

}  // namespace yamanote::bench
