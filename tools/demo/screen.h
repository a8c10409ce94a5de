// screen.h - what the demo shows while it runs, and the table at its end.

#pragma once

#include <mutex>
#include <string>
#include <string_view>

#include "tools/report/report.h"

namespace yamanote::demo {

// Standard error. On a terminal one line is updated in place; elsewhere only
// finished lines appear. Thread-safe.
class Screen {
 public:
  Screen();
  ~Screen();  // Removes an unfinished line.
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Replaces the line that is being updated. Nothing if this isn't a terminal.
  void Update(std::string_view line);
  // Writes a line that stays.
  void Line(std::string_view line);

 private:
  std::mutex mutex_;
  const bool terminal_;
  bool unfinished_ = false;  // Guarded by mutex_.
};

// "84 µs", "1.2 ms"; "never" if unanswered requests make it infinite, "-" if
// there is no figure.
std::string FormatMicros(double us);

// "12k/s".
std::string FormatRps(double rps);

// For each class, p99 by load and contender; then the highest load of each that
// meets the report's objective. All of the undisturbed samples if the report
// prefers these (PrefersUndisturbed).
std::string ResultTable(const report::Report& report);

}  // namespace yamanote::demo
