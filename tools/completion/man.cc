// man.cc - the man pages yamanote(1) and yamanoted(8), from the same tree as the help.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "tools/completion/tree.h"

namespace yamanote::tools {
namespace {

// Text that roff prints as it is: hyphens that can be copied, no requests.
std::string Roff(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool line_start = i == 0 || text[i - 1] == '\n';
    if (line_start && (text[i] == '.' || text[i] == '\'')) out += "\\&";
    if (text[i] == '\\') {
      out += "\\e";
    } else if (text[i] == '-') {
      out += "\\-";
    } else {
      out += text[i];
    }
  }
  return out;
}

void AddFlags(const CommandNode& node, std::string& out) {
  std::string group;
  for (const FlagNode& flag : node.flags) {
    if (flag.group != group && flag.group.starts_with("[")) {
      out += fmt::format(".P\nKeys of {} in the configuration file:\n",
                         Roff(flag.group));
    }
    group = flag.group;
    out += fmt::format(
        ".TP\n\\fB{}\\fR{}\n{}\n",
        Roff(fmt::format("{}", fmt::join(flag.names, ", "))),
        flag.value.empty() ? "" : " \\fI" + Roff(flag.value) + "\\fR",
        Roff(flag.help + flag.Remarks()));
  }
}

// As the help wraps it: lines that begin with a space, the examples, stay as they are; an empty
// line or one that ends with a colon ends a paragraph.
void AddFooter(std::string_view text, std::string& out) {
  bool is_example = false;
  bool starts = true;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with(' ') != is_example && !line.empty()) {
      is_example = !is_example;
      out += is_example ? ".nf\n" : ".fi\n";
    }
    if (line.empty()) {
      starts = true;
      continue;
    }
    if (starts && !is_example) out += ".P\n";
    out += Roff(std::string(line)) + '\n';
    starts = line.ends_with(':');
  }
  if (is_example) out += ".fi\n";
}

void AddCommand(const CommandNode& node, std::string& out) {
  out +=
      fmt::format(".SS yamanote {}\n{}.\n", Roff(node.path), Roff(node.help));
  for (const PositionalNode& positional : node.positionals) {
    out += fmt::format(".TP\n\\fI{}\\fR\n{}\n", Roff(positional.name),
                       Roff(positional.help));
  }
  AddFlags(node, out);
  AddFooter(node.footer, out);
}

}  // namespace

std::string ManPage(const CommandNode& root, const std::string& version) {
  std::string out = fmt::format(
      ".\\\" Written by the build from the command's own help.\n"
      ".TH YAMANOTE 1 \"\" \"Yamanote {}\" \"User Commands\"\n"
      ".SH NAME\nyamanote \\- microsecond\\-scale scheduling on stock Linux\n"
      ".SH SYNOPSIS\n\\fByamanote\\fR \\fICOMMAND\\fR [\\fIFLAGS\\fR]\n"
      ".SH DESCRIPTION\n{}.\n.SH OPTIONS\n",
      Roff(version), Roff(root.help));
  AddFlags(root, out);
  out += ".SH COMMANDS\n";
  for (const CommandNode* node : Flatten(root)) {
    if (!node->path.empty()) AddCommand(*node, out);
  }
  out +=
      ".SH \"EXIT STATUS\"\n"
      "0: it worked. 1: it failed. "
      "2: the command line or the configuration is wrong.\n"
      ".SH SIGNALS\n"
      "\\fByamanote serve\\fR ends cleanly on SIGINT, SIGTERM and SIGHUP: "
      "requests in flight are answered. A second signal ends it at once. "
      "SIGUSR1 prints statistics.\n"
      ".SH \"SEE ALSO\"\n"
      "\\fByamanoted\\fR(8), \\fBtaskset\\fR(1), \\fBmemcached\\fR(1)\n";
  return out;
}

std::string DaemonManPage(const CommandNode& root, const std::string& version) {
  std::string out = fmt::format(
      ".\\\" Written by the build from the program's own help.\n"
      ".TH YAMANOTED 8 \"\" \"Yamanote {}\" \"System Administration\"\n"
      ".SH NAME\nyamanoted \\- hands cores out to applications\n"
      ".SH SYNOPSIS\n\\fByamanoted\\fR [\\fIFLAGS\\fR]\n"
      ".SH DESCRIPTION\n{}.\n.SH OPTIONS\n",
      Roff(version), Roff(root.help));
  AddFlags(root, out);
  out += fmt::format(".SH NOTES\n.nf\n{}\n.fi\n", Roff(root.footer));
  out +=
      ".SH \"EXIT STATUS\"\n"
      "0: it was told to end. 1: it failed. "
      "2: the command line or the configuration is wrong.\n"
      ".SH \"SEE ALSO\"\n"
      "\\fByamanote\\fR(1), \\fBsystemd.service\\fR(5)\n";
  return out;
}

}  // namespace yamanote::tools
