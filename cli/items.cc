// Divides a text into items: words, sentences or named byte ranges.
#include "cli/items.h"

#include <algorithm>
#include <csignal>

#include "base/file.h"
#include "explain/items.h"
#include "models/run_text.h"
#include "models/trace_text.h"
#include "text/strings.h"
#include "viewer/words.h"

namespace clearhead::cli {

using namespace explain;  // NOLINT(google-build-using-namespace)

std::vector<std::string> choose_items(AttributionTarget& target, const std::string& what, const std::string& segments) {
  const RunText& text = target.plan().text;
  if (what == "segment") return group_by_segments(target, segments_as_units(text));
  if (!text.items.empty()) return {};  // a network has its own items: sentences, statements or patches
  if (!segments.empty()) {
    std::vector<TextSegment> named;
    for (const NamedBytes& part : segments_from_json(read_config(segments), segments)) {
      check_bytes(part, text.text.size());
      const Range tokens = tokens_of_bytes(text, part.begin, part.end);
      named.push_back({part.name, part.role, tokens.begin, tokens.end});
    }
    return group_by_segments(target, disjoint_segments(std::move(named)));
  }
  if (what == "sentence") target.set_items(items_of_sentences(target));
  if (what == "word") target.set_items(items_of_words(target, viewer::words_of(text)));
  return {};
}

std::string text_of_item(const AttributionTarget& target, const Range& item) {
  const RunText& read = target.plan().text;
  const auto [begin, end] = bytes_of_item(target, item);
  if (end <= begin) return read.pieces[static_cast<size_t>(item.begin)];
  return std::string(text::strip(std::string_view(read.text).substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin))));
}

std::atomic<bool>& cancel_flag() {
  static std::atomic<bool> flag{false};
  return flag;
}

Cancellable::Cancellable() {
  cancel_flag() = false;  // also initialises the static flag before the signal handler can run
  before_ = std::signal(SIGINT, [](int) { cancel_flag() = true; });
}
Cancellable::~Cancellable() { std::signal(SIGINT, before_); }

}  // namespace clearhead::cli
