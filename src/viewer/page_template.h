// The template of every page that needs no server, with its markers replaced.
#pragma once

#include <string>

#include "base/json.h"

namespace clearhead::viewer {

/// What the page's Content-Security-Policy allows beyond its own script.
struct PagePolicy {
  const char* connect = "'none'";  ///< the source from which the page may fetch data
  bool compiles = false;           ///< whether it may compile WebAssembly
};
std::string page_with(const std::string& title, const std::string& data, const PagePolicy& policy = {});

/// A script element with JSON that contains no '<', so that no text in it can end the element.
std::string json_element(const char* id, const Json& json);

}  // namespace clearhead::viewer
