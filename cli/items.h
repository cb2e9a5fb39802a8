// The items that `why` and `judge` attribute to and remove: words, sentences or named sections. Also lets Ctrl-C end these commands
// early with the results so far.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "explain/attribution_target.h"

namespace clearhead::cli {

/// Sets the items of a target. what: "word", "token", "sentence" or "segment". segments: if given, a JSON file that names the items. If
/// the input has items of its own (patches, or the sentences of a network), they stay as they are. Returns the names of the items if they
/// are segments, else nothing. Throws whatever reading the file throws, and what segments_as_units() throws.
std::vector<std::string> choose_items(explain::AttributionTarget& target, const std::string& what, const std::string& segments = "");
/// The item's text without leading and trailing whitespace, or its name if it covers no bytes of the text.
std::string text_of_item(const explain::AttributionTarget& target, const Range& item);

/// Set by Ctrl-C while a Cancellable exists.
std::atomic<bool>& cancel_flag();
/// While it exists, Ctrl-C sets cancel_flag() instead of ending the process.
class Cancellable {
 public:
  Cancellable();
  ~Cancellable();
  Cancellable(const Cancellable&) = delete;
  Cancellable& operator=(const Cancellable&) = delete;

 private:
  void (*before_)(int);
};

}  // namespace clearhead::cli
