// output.h - results on their way out: files, and standard output itself.
//
// A file is refused before minutes of measuring, not after them, and is either
// written whole or left as it was: a run that fails leaves no empty file behind
// and truncates none. What cannot be replaced by renaming (a device, a pipe) is
// written directly.

#pragma once

#include <string>
#include <string_view>

#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::tools {

// Returns whether WriteFile(flag, path, ...) can work, and leaves nothing
// behind. `flag` ("--json") is named in the error. kInvalidArgument: a folder
// that is missing or read-only, a folder instead of a file, a protected file.
Result<void> CheckWritable(std::string_view flag, const std::string& path);

// Replaces the file at `path`, or what a link there points to, by `text`.
// Errors as CheckWritable(), and kResourceExhausted if the disk is full.
Result<void> WriteFile(std::string_view flag, const std::string& path,
                       std::string_view text);

// Whether both name one regular file, or would once they are written.
bool SameFile(const std::string& a, const std::string& b);

// Opens whichever of the descriptors 0, 1, 2 is closed, so that no socket or
// file ever gets its number and what is printed. Writing to a standard output
// that was closed still fails. Before anything else is opened.
void OpenStandardStreams();

// Whether `descriptor` takes 4 KiB without making the writer wait: at once, or
// within `patience`. False for a pipe that is full or a terminal that is held
// (Ctrl-S); true where a write only fails, as to a pipe that nobody reads.
bool TakesOutput(int descriptor, Duration patience);

// Writes out what was printed. kClosed or kResourceExhausted if some of it was
// lost since the start or the last call.
Result<void> FlushStandardOutput();

}  // namespace yamanote::tools
