// plugin.cc - the GCC plug-in: its options, its passes, the compiler it fits.
//
//   g++ -fplugin=yamanote_gcc.so [-fplugin-arg-yamanote_gcc-KEY=VALUE]...
//
//   tls=local-exec|initial-exec   how the runtime's thread-locals are found
//   report                        one line per function on standard error
//
// A plug-in works with the one release of GCC whose headers it was built with.

#include <cstring>

#include "instrument/gcc/copies.h"
#include "instrument/gcc/facts.h"
#include "instrument/gcc/guard.h"
#include "instrument/gcc/probes.h"
#include "instrument/gcc/short_loops.h"
#include "instrument/gcc/strip.h"

// After the compiler's other headers.
#include <langhooks.h>
#include <plugin-version.h>

// The compiler asks for this by name.
extern "C" {
int plugin_is_GPL_compatible;
}

namespace yamanote::instrument {
namespace {

// Lives as long as the compiler's process.
Unit unit;

bool ParseOption(const plugin_argument& argument, Options* options) {
  const char* value = argument.value == nullptr ? "" : argument.value;
  if (strcmp(argument.key, "tls") == 0) {
    if (strcmp(value, "local-exec") == 0) {
      options->tls = TlsModel::kLocalExec;
      return true;
    }
    if (strcmp(value, "initial-exec") == 0) {
      options->tls = TlsModel::kInitialExec;
      return true;
    }
    error(
        "%<-fplugin-arg-yamanote_gcc-tls%> is %qs; "
        "it must be %qs or %qs",
        value, "local-exec", "initial-exec");
    return false;
  }
  if (strcmp(argument.key, "report") == 0 && *value == '\0') {
    options->report = true;
    return true;
  }
  error(
      "%<-fplugin-arg-yamanote_gcc-%s%s%s%> is no option of this plug-in; "
      "the options are %<tls=local-exec%>, %<tls=initial-exec%> and "
      "%<report%>",
      argument.key, *value == '\0' ? "" : "=", value);
  return false;
}

// Says what is wrong if this compiles for link-time optimisation. The code that is
// linked then comes from another process, which does not load the plug-in where it
// should: neither probes nor guards would be in it. What -ffat-lto-objects adds has
// probes, but is linked without -flto only, of which nothing is known here.
bool RefuseLinkTimeOptimisation() {
  // The linker's compiler: of its input it is not known what may have probes.
  if (strcmp(lang_hooks.name, "GNU GIMPLE") == 0) {
    error(
        "%<yamanote_gcc%> cannot insert probes while linking; leave "
        "%<-fplugin=%> out there, and compile what is to have probes with "
        "%<-fno-lto%>, or with clang");
    return true;
  }
  if (flag_lto != nullptr) {
    error(
        "%<yamanote_gcc%> and %<-flto%> do not go together: code that is "
        "compiled while linking has no probes; compile these files with "
        "%<-fno-lto%>, or with clang");
    return true;
  }
  return false;
}

void AddPass(const char* plugin_name, opt_pass* pass, const char* reference,
             pass_positioning_ops position) {
  register_pass_info info = {pass, reference, 1, position};
  register_callback(plugin_name, PLUGIN_PASS_MANAGER_SETUP, nullptr, &info);
}

}  // namespace
}  // namespace yamanote::instrument

int plugin_init(plugin_name_args* arguments, plugin_gcc_version* compiler) {
  using namespace yamanote::instrument;
  if (!plugin_default_version_check(compiler, &gcc_version)) {
    error(
        "%qs was built for GCC %s (%s) and cannot work in GCC %s (%s); "
        "build it again with this compiler and its plug-in headers",
        arguments->full_name, gcc_version.basever, gcc_version.datestamp,
        compiler->basever, compiler->datestamp);
    return 1;
  }
  if (RefuseLinkTimeOptimisation()) return 1;
  for (int i = 0; i < arguments->argc; ++i) {
    if (!ParseOption(arguments->argv[i], &unit.options)) return 1;
  }
  const char* name = arguments->base_name;
  RegisterRoots(name);
  register_callback(name, PLUGIN_ATTRIBUTES, RegisterAttribute, nullptr);
  register_callback(name, PLUGIN_ALL_IPA_PASSES_START, RenameCopies, nullptr);
  AddPass(name, MakeGuardPass(g, &unit), "optimized", PASS_POS_INSERT_AFTER);
  AddPass(name, MakeStripPass(g, &unit), "yamanote_guard",
          PASS_POS_INSERT_AFTER);
  AddPass(name, MakeShortLoopsPass(g, &unit), "loop2_done",
          PASS_POS_INSERT_BEFORE);
  AddPass(name, MakeProbesPass(g, &unit), "stack", PASS_POS_INSERT_AFTER);
  return 0;
}
