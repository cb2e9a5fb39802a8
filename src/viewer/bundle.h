// The files of the page, compiled into the program. They are built from web/ and committed as web/dist/.
#pragma once

#include <string_view>

namespace clearhead::viewer {

struct ViewerBundle {
  std::string_view index{};    ///< dist/index.html
  std::string_view offline{};  ///< dist/offline.html
  std::string_view script{};   ///< dist/app.js
  std::string_view style{};    ///< dist/app.css
};
const ViewerBundle& viewer_bundle();

/// The engine as WebAssembly (wasm/), for pages that compute. Empty in the engine itself.
struct EngineBundle {
  std::string_view script{};  ///< wasm/dist/engine.js
  std::string_view wasm{};    ///< wasm/dist/engine.wasm
};
const EngineBundle& engine_bundle();

}  // namespace clearhead::viewer
