// layout.h - how help looks: wrapped to the terminal, limits and default with
// every flag.
//
// CLI11 decides what is in a help text, this only lays it out. Set on the
// program's CLI::App before subcommands are added, which inherit it.

#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

namespace yamanote::tools {

// Columns of the terminal behind standard output, 40 at least; 80 if it is
// none.
size_t HelpWidth();

// Breaks `text` between words into lines of at most `width` columns; the first
// begins at column `at`, the others with `indent` spaces. A longer word has a
// line for itself. Ends without a line end.
std::string Wrap(std::string_view text, size_t width, size_t indent = 0,
                 size_t at = 0);

// Wraps paragraphs. Lines that begin with a space, the examples, stay as they
// are; an empty line or one that ends with a colon ends a paragraph.
std::string WrapParagraphs(std::string_view text, size_t width);

class HelpLayout final : public CLI::Formatter {
 public:
  explicit HelpLayout(size_t width) : width_(width) {}

  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
  std::string make_description(const CLI::App* app) const override;
  std::string make_option(const CLI::Option* option,
                          bool is_positional) const override;
  std::string make_subcommand(const CLI::App* command) const override;
  std::string make_footer(const CLI::App* app) const override;

 private:
  std::string Entry(const std::string& name, const std::string& text) const;

  const size_t width_;
};

}  // namespace yamanote::tools
