// json.h - JSON as text and back, compiled once.
//
// No other file of tools/ calls dump() or parse(): the templates behind them cost
// every file that does seconds of compilation.

#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace yamanote::tools {

// Returns `document` on one line, or on many, indented by `indent` spaces. Bytes
// that are not UTF-8 (a name from the command line) become U+FFFD.
std::string JsonText(const nlohmann::json& document, int indent = -1);
std::string JsonText(const nlohmann::ordered_json& document, int indent = -1);

// A figure: JSON has no infinity and no NaN, so these are "inf" and null.
nlohmann::ordered_json JsonFigure(double value);

// Returns what `text` says; is_discarded() if that is not JSON. Never throws for it.
nlohmann::json ParseJson(std::string_view text);
// The same; keeps the order of an object's members.
nlohmann::ordered_json ParseOrderedJson(std::string_view text);

}  // namespace yamanote::tools
