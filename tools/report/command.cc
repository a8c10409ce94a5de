// command.cc - reads saved results and writes the HTML report.

#include "tools/report/command.h"

#include <fmt/core.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/command.h"
#include "tools/output/json.h"
#include "tools/output/output.h"
#include "tools/report/report.h"

namespace yamanote::tools {
namespace {

// A result file of a long sweep has some 100 KiB; this stops a wrong file
// early.
constexpr uintmax_t kMaxFileBytes = 64 << 20;

struct Arguments {
  std::vector<std::string> files;
  std::string out = "yamanote-report.html";
  std::string title;
  std::string objective;
  std::vector<std::string> notes;
  bool machine = false;
};

nlohmann::json ReadJson(const std::string& path) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) Fail(fmt::format("cannot read '{}': {}", path, error.message()));
  if (size > kMaxFileBytes) {
    Fail(fmt::format("'{}' has {} bytes; a result has at most {}", path, size,
                     kMaxFileBytes));
  }
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  nlohmann::json json = ParseJson(text);
  if (json.is_discarded()) {
    Fail(
        fmt::format("'{}' is not JSON; write one with `yamanote load --json "
                    "FILE` or `yamanote demo --json`",
                    path));
  }
  return json;
}

// Adds what `path` holds, either schema, to `report`.
void AddFile(const std::string& path, report::Report& report) {
  const nlohmann::json json = ReadJson(path);
  const bool whole =
      json.is_object() &&
      json.value("schema", nlohmann::json()) == "yamanote.report/1";
  if (whole) {
    Result<report::Report> read = report::FromJson(json);
    if (!read) Fail(fmt::format("'{}': {}", path, read.error().message));
    // The first file's words stand; results, configurations and notes add up.
    if (report.results.empty()) {
      report.title = read->title;
      report.lead = read->lead;
      report.machine = read->machine;
      report.objective = read->objective;
    } else {
      report.lead.clear();
    }
    std::move(read->results.begin(), read->results.end(),
              std::back_inserter(report.results));
    std::move(read->schedulers.begin(), read->schedulers.end(),
              std::back_inserter(report.schedulers));
    std::move(read->notes.begin(), read->notes.end(),
              std::back_inserter(report.notes));
    return;
  }
  Result<load::LoadResult> result = load::FromJson(json);
  if (!result) Fail(fmt::format("'{}': {}", path, result.error().message));
  if (!report.results.empty()) report.lead.clear();
  report.results.push_back(*std::move(result));
}

void WriteReport(const Arguments& arguments) {
  if (auto ok = CheckWritable("--out", arguments.out); !ok)
    Fail(ok.error().message, kUsage);
  for (const std::string& file : arguments.files) {
    if (SameFile(file, arguments.out)) {
      Fail(fmt::format("--out is '{}', which is also read; name another file",
                       arguments.out),
           kUsage);
    }
  }
  report::Report report;
  for (const std::string& file : arguments.files) AddFile(file, report);
  if (!arguments.title.empty()) report.title = arguments.title;
  if (!arguments.objective.empty()) {
    Result<report::Objective> objective =
        report::ParseObjective(arguments.objective);
    if (!objective) Fail(objective.error().message, kUsage);
    report.objective = *std::move(objective);
  }
  if (arguments.machine) report.machine = report::MachineFacts();
  for (const std::string& note : arguments.notes) report.notes.push_back(note);
  const Result<void> written = report::Write(report, "--out", arguments.out);
  if (!written) {
    Fail(
        written.error().message,
        written.error().code == ErrorCode::kInvalidArgument ? kUsage : kFailed);
  }
  fmt::print("{}\n", std::filesystem::absolute(arguments.out).string());
}

}  // namespace

void AddReportCommand(CLI::App& app) {
  CLI::App* const command =
      app.add_subcommand("report", "Make one HTML file from saved results");
  const auto arguments = std::make_shared<Arguments>();
  command
      ->add_option("file", arguments->files,
                   "JSON of `yamanote load` or `yamanote demo`")
      ->required()
      ->type_name("FILE");
  command->add_option("-o,--out", arguments->out, "The HTML file to write")
      ->capture_default_str()
      ->type_name("FILE");
  command->add_option("--title", arguments->title, "Heading of the report")
      ->type_name("TEXT")
      ->default_str(report::Report{}.title);
  command
      ->add_option("--objective", arguments->objective,
                   "Limit to draw and to judge by, of p50, p99 or p99.9, of "
                   "latency or slowdown: get:p99-slowdown<=10, "
                   "p99.9-latency<=300us")
      ->type_name("LIMIT");
  command
      ->add_option("--note", arguments->notes,
                   "What a reader must know; may be repeated")
      ->type_name("TEXT");
  command->add_flag("--machine", arguments->machine,
                    "The results were measured on this machine: add its facts");
  command->footer(
      "Prints the path of the file. It is self-contained: send it, open it "
      "anywhere.\n"
      "Curves are named by the results' labels (`yamanote load --label`).\n\n"
      "Examples:\n"
      "  yamanote report ix.json shinjuku.json -o tails.html\n"
      "  yamanote report demo.json --objective 'get:p99-slowdown<=10'");
  command->callback([arguments] { WriteReport(*arguments); });
}

}  // namespace yamanote::tools
