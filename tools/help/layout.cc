// layout.cc - two columns, the right one wrapped.

#include "tools/help/layout.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "tools/completion/tree.h"

namespace yamanote::tools {
namespace {

constexpr size_t kLeastWidth = 40;
constexpr size_t kUsualWidth = 80;
constexpr size_t kColumn = 28;       // Where the right column begins,
constexpr size_t kNarrowColumn = 6;  // and where on a terminal as narrow as
constexpr size_t kNarrow = 60;       // this.

// Columns that `text` takes: characters, not bytes, of UTF-8.
size_t Columns(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

size_t HelpWidth() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return kUsualWidth;
  return std::max<size_t>(size.ws_col, kLeastWidth);
}

std::string Wrap(std::string_view text, size_t width, size_t indent,
                 size_t at) {
  std::string out;
  bool line_has_word = false;
  while (!text.empty()) {
    size_t end = std::min(text.find_first_of(" \n"), text.size());
    // "1 .. 64" is one word.
    if (constexpr std::string_view kTo = " .. ";
        text.substr(end).starts_with(kTo)) {
      end = std::min(text.find_first_of(" \n", end + kTo.size()), text.size());
    }
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    const size_t columns = Columns(word);
    if (line_has_word && at + 1 + columns > width) {
      out += '\n' + std::string(indent, ' ');
      at = indent;
    } else if (line_has_word) {
      out += ' ';
      ++at;
    }
    out += word;
    at += columns;
    line_has_word = true;
  }
  return out;
}

std::string WrapParagraphs(std::string_view text, size_t width) {
  std::string out;
  std::string paragraph;
  const auto finish = [&] {
    if (!paragraph.empty()) out += Wrap(paragraph, width) + '\n';
    paragraph.clear();
  };
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.starts_with(' ')) {
      finish();
      out += std::string(line) + '\n';
      continue;
    }
    if (!paragraph.empty()) paragraph += ' ';
    paragraph += line;
    if (line.ends_with(':')) finish();
  }
  finish();
  return out;
}

std::string HelpLayout::make_help(const CLI::App* app, std::string name,
                                  CLI::AppFormatMode mode) const {
  std::string text = CLI::Formatter::make_help(app, std::move(name), mode);
  // Groups are set apart by one empty line, not by two.
  for (size_t at = 0; (at = text.find("\n\n\n", at)) != std::string::npos;)
    text.erase(at, 1);
  return text;
}

std::string HelpLayout::make_description(const CLI::App* app) const {
  return Wrap(app->get_description() + '.', width_) + "\n\n";
}

std::string HelpLayout::Entry(const std::string& name,
                              const std::string& text) const {
  const size_t column = width_ < kNarrow ? kNarrowColumn : kColumn;
  std::string out = "  " + name;
  if (Columns(out) + 2 > column) {
    out += '\n' + std::string(column, ' ');
  } else {
    out += std::string(column - Columns(out), ' ');
  }
  return out + Wrap(text, width_, column, column) + '\n';
}

std::string HelpLayout::make_option(const CLI::Option* option,
                                    bool is_positional) const {
  const FlagNode flag = ReadFlag(*option);
  std::string name = option->get_name(is_positional, !is_positional);
  if (!is_positional && !flag.value.empty()) name += ' ' + flag.value;
  return Entry(name, flag.help + flag.Remarks());
}

std::string HelpLayout::make_subcommand(const CLI::App* command) const {
  return Entry(command->get_name(), command->get_description());
}

std::string HelpLayout::make_footer(const CLI::App* app) const {
  return WrapParagraphs(app->get_footer(), width_);
}

}  // namespace yamanote::tools
