// gcc_headers.h - the compiler's headers, in the order that they need.
//
// The compiler's system.h poisons names that the standard library uses, so
// every file includes the standard headers before this one.

#ifndef YAMANOTE_INSTRUMENT_GCC_GCC_HEADERS_H_
#define YAMANOTE_INSTRUMENT_GCC_GCC_HEADERS_H_

// clang-format off: each of these needs those above it.
#include <gcc-plugin.h>
#include <bversion.h>
#include <tree.h>
#include <gimple.h>
#include <tree-pass.h>
#include <context.h>
#include <ssa.h>
#include <cgraph.h>
#include <gimple-iterator.h>
#include <gimple-walk.h>
#include <gimplify.h>
#include <stringpool.h>
#include <attribs.h>
#include <varasm.h>
#include <calls.h>
#include <rtl.h>
#include <regs.h>
#include <function-abi.h>
#include <memmodel.h>
#include <tm_p.h>
#include <df.h>
#include <emit-rtl.h>
#include <cfgrtl.h>
#include <cfganal.h>
#include <cfgloop.h>
#include <tree-ssa-loop-niter.h>
#include <diagnostic-core.h>
// clang-format on

#endif  // YAMANOTE_INSTRUMENT_GCC_GCC_HEADERS_H_
