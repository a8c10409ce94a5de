// assets.h - the parts of the page; assets.cc is written by the build from web/
// and from uPlot's npm package (embed.cmake).

#pragma once

#include <string_view>

namespace yamanote::report::assets {

std::string_view Page();    // web/report.html, with @NAMES@ to fill.
std::string_view Style();   // uPlot's style and web/report.css.
std::string_view Script();  // uPlot and web/*.js.

}  // namespace yamanote::report::assets
