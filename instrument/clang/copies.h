// copies.h - the names of this unit's copies of inline functions.
//
// The linker keeps one copy of an inline function or an implicit instantiation of
// a template. Code that must not be preempted may use the same ones, so copies
// with probes have names of their own. docs/probes.md says which keep theirs.

#ifndef YAMANOTE_INSTRUMENT_CLANG_COPIES_H_
#define YAMANOTE_INSTRUMENT_CLANG_COPIES_H_

#include <llvm/IR/Module.h>

namespace yamanote::instrument {

// What a copy's name ends with; demanglers take it for the name of a clone. The
// same as GCC's plug-in has, so that units of both compilers share copies.
inline constexpr char kCopySuffix[] = ".preemptible";

// Renames the functions that every unit with a use of them compiles, and their
// section groups. Must come before the first pass that removes or clones any.
void RenameCopies(llvm::Module& module);

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_CLANG_COPIES_H_
