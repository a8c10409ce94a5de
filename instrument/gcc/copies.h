// copies.h - the names of this unit's copies of inline functions.
//
// The linker keeps one copy of an inline function or an implicit instantiation of
// a template. Code that must not be preempted may use the same ones, so copies
// with probes have names of their own.

#ifndef YAMANOTE_INSTRUMENT_GCC_COPIES_H_
#define YAMANOTE_INSTRUMENT_GCC_COPIES_H_

#include <string_view>

#include "instrument/gcc/gcc_headers.h"

namespace yamanote::instrument {

// What a copy's name ends with; demanglers take it for the name of a clone.
inline constexpr std::string_view kCopySuffix = ".preemptible";

// The callback before the first pass over the whole unit: renames the functions
// that every unit with a use of them compiles, and their section groups.
void RenameCopies(void*, void*);

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_GCC_COPIES_H_
