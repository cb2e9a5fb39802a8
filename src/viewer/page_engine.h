// The parts that let an offline page compute: the engine as WebAssembly (wasm/), and files for its file system: saved traces, and the files of
// their models under the names by which these were loaded, so that the names and commands of the page are those of the live page.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "viewer/loaded_trace.h"

namespace clearhead::viewer {

/// The longest text, in tokens, of a trace that a page computes: the engine runs on one thread.
inline constexpr int64_t kLongestComputed = 2048;

/// Gathers these parts for the traces of a page. A trace without a model, of a model that does not read a text, or of more than
/// kLongestComputed tokens is left out, and stays as it is in a page without models.
class PageEngine {
 public:
  /// Saves traces to the folder for temporary files while it reads their bytes. Throws kUnsupported, with the reason, if every trace is
  /// left out.
  explicit PageEngine(std::span<LoadedTrace> traces);

  /// The deflated parts, which get consecutive numbers among the blobs of a page.
  const std::vector<std::string>& blobs() const { return blobs_; }
  /// The script that runs the engine, as an element of the page.
  std::string script() const;
  /// The field `computes` of a trace's manifest, if the blobs are numbered from `first`; null for a trace that is left out.
  Json trace(size_t at, size_t first) const;

 private:
  size_t add(std::string_view bytes);
  void add_trace(const LoadedTrace& loaded);

  std::vector<std::string> blobs_{};
  size_t wasm_ = 0;
  struct Files {
    std::map<std::string, size_t> blob_of{};  // path in the engine's file system
    Json opened{};                            // for clearhead_open(); null: left out
  };
  std::vector<Files> traces_{};
  std::map<std::string, std::map<std::string, size_t>> models_{};  // files by the name of the model, which traces may share
};

}  // namespace clearhead::viewer
