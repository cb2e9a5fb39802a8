// Fills in the template of pages that work without a server (offline pages, sites, pages in a frame).
#pragma once

#include <string>

#include "base/json.h"

namespace clearhead::viewer {

/// Permissions of the page's Content-Security-Policy, in addition to running the page's own script.
struct PagePolicy {
  const char* connect = "'none'";  ///< the value of connect-src: the origin from which the page may fetch data
  bool compiles = false;           ///< if true, the page may compile WebAssembly
};
/// Returns the HTML of a page. `data` is inserted as it is, before the script.
std::string page_with(const std::string& title, const std::string& data, const PagePolicy& policy = {});

/// A script element with JSON that contains no '<', so that no text in it can end the element.
std::string json_element(const char* id, const Json& json);

}  // namespace clearhead::viewer
