// Items from words, sentences and named bytes.
#include "cli/items.h"

#include <algorithm>
#include <array>
#include <csignal>

#include "base/file.h"
#include "models/reading.h"
#include "models/trace_text.h"
#include "text/strings.h"
#include "viewer/words.h"

namespace clearhead::cli {

using judge::Subject;

namespace {

// Stretches of bytes as items: their tokens that may be taken away.
std::vector<Range> items_of_bytes(const Subject& subject, const std::vector<std::array<int64_t, 2>>& stretches) {
  std::vector<Range> out;
  for (const auto& [begin, end] : stretches) {
    Range item = tokens_of_bytes(subject.plan().text, begin, end);
    if (!out.empty()) item.begin = std::max(item.begin, out.back().end);
    const bool any = std::any_of(subject.items().begin(), subject.items().end(),
                                 [&](const Range& token) { return token.begin >= item.begin && token.begin < item.end; });
    if (any) out.push_back(item);
  }
  return out;
}

}  // namespace

void choose_items(Subject& subject, const std::string& what, const std::string& segments) {
  const RunText& text = subject.plan().text;
  if (!text.items.empty()) return;  // those of a network: its sentences, statements or patches
  if (!segments.empty()) {
    std::vector<std::array<int64_t, 2>> stretches;
    for (const NamedBytes& part : segments_from_json(read_config(segments), segments)) {
      check_bytes(part, text.text.size());
      stretches.push_back({part.begin, part.end});
    }
    return subject.set_items(items_of_bytes(subject, stretches));
  }
  if (what == "sentence") {
    std::vector<std::array<int64_t, 2>> stretches;
    size_t from = 0;
    for (const std::string& sentence : sentences_of(text.text)) {
      const size_t found = text.text.find(sentence, from);
      if (found == std::string::npos) continue;
      from = found + sentence.size();
      stretches.push_back({static_cast<int64_t>(found), static_cast<int64_t>(from)});
    }
    return subject.set_items(items_of_bytes(subject, stretches));
  }
  if (what == "token") return;
  const std::vector<int32_t> words = words_of(text);
  std::vector<Range> items;
  for (const Range& token : subject.items()) {
    const int32_t word = words[static_cast<size_t>(token.begin)];
    const bool goes_on =
        !items.empty() && items.back().end == token.begin && word >= 0 && words[static_cast<size_t>(token.begin - 1)] == word;
    if (goes_on) {
      items.back().end = token.end;
    } else {
      items.push_back(token);
    }
  }
  subject.set_items(items);
}

std::string text_of_item(const Subject& subject, const Range& item) {
  const RunText& read = subject.plan().text;
  const auto begin = static_cast<size_t>(read.offsets[static_cast<size_t>(item.begin)][0]);
  const auto end = static_cast<size_t>(read.offsets[static_cast<size_t>(item.end - 1)][1]);
  return end > begin ? std::string(text::strip(std::string_view(read.text).substr(begin, end - begin)))
                     : read.pieces[static_cast<size_t>(item.begin)];
}

std::vector<uint8_t> items_in_bytes(const Subject& subject, const std::vector<std::array<int64_t, 2>>& stretches) {
  std::vector<uint8_t> out;
  const RunText& text = subject.plan().text;
  for (const Range& item : subject.items()) {
    bool is_in = false;
    for (int64_t id = item.begin; id < item.end; ++id) {
      const auto [begin, end] = text.offsets[static_cast<size_t>(id)];
      for (const auto& [from, to] : stretches) is_in = is_in || (begin < to && from < end);
    }
    out.push_back(is_in);
  }
  return out;
}

std::atomic<bool>& cancel_flag() {
  static std::atomic<bool> flag{false};
  return flag;
}

Cancellable::Cancellable() {
  cancel_flag() = false;  // made before the handler may ask for it
  before_ = std::signal(SIGINT, [](int) { cancel_flag() = true; });
}
Cancellable::~Cancellable() { std::signal(SIGINT, before_); }

}  // namespace clearhead::cli
