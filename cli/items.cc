// Divides a text into items: words, sentences or named byte ranges.
#include "cli/items.h"

#include <algorithm>
#include <array>
#include <csignal>

#include "base/file.h"
#include "explain/items.h"
#include "models/trace_text.h"
#include "text/strings.h"
#include "viewer/words.h"

namespace clearhead::cli {

using namespace explain;  // NOLINT(google-build-using-namespace)

void choose_items(AttributionTarget& target, const std::string& what, const std::string& segments) {
  const RunText& text = target.plan().text;
  if (!text.items.empty()) return;  // a network has its own items: sentences, statements or patches
  if (!segments.empty()) {
    std::vector<std::array<int64_t, 2>> stretches;
    for (const NamedBytes& part : segments_from_json(read_config(segments), segments)) {
      check_bytes(part, text.text.size());
      stretches.push_back({part.begin, part.end});
    }
    return target.set_items(items_of_bytes(target, stretches));
  }
  if (what == "sentence") return target.set_items(items_of_sentences(target));
  if (what == "word") target.set_items(items_of_words(target, viewer::words_of(text)));
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
