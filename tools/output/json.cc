// json.cc - the only place where the serializer and the parser are compiled.

#include "tools/output/json.h"

#include <cmath>

namespace yamanote::tools {

std::string JsonText(const nlohmann::json& document, int indent) {
  return document.dump(indent, ' ', false,
                       nlohmann::json::error_handler_t::replace);
}

std::string JsonText(const nlohmann::ordered_json& document, int indent) {
  return document.dump(indent, ' ', false,
                       nlohmann::ordered_json::error_handler_t::replace);
}

nlohmann::ordered_json JsonFigure(double value) {
  if (std::isnan(value)) return nullptr;
  if (std::isinf(value)) return "inf";
  return value;
}

nlohmann::json ParseJson(std::string_view text) {
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
}

nlohmann::ordered_json ParseOrderedJson(std::string_view text) {
  return nlohmann::ordered_json::parse(text, nullptr,
                                       /*allow_exceptions=*/false);
}

}  // namespace yamanote::tools
