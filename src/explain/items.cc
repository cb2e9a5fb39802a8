// Groups the target's initial items, which are its tokens.
#include "explain/items.h"

#include <algorithm>

#include "models/input_kind.h"
#include "models/input_text.h"
#include "models/trace_text.h"

namespace clearhead::explain {

std::vector<Range> items_of_words(const AttributionTarget& target, const std::vector<int32_t>& word_of_id) {
  if (!target.model().info().tags_words) return target.items();  // a sequence of characters, such as a protein, has no words
  std::vector<Range> out;
  for (const Range& token : target.items()) {
    const int32_t word = word_of_id[static_cast<size_t>(token.begin)];
    const bool goes_on =
        !out.empty() && out.back().end == token.begin && word >= 0 && word_of_id[static_cast<size_t>(token.begin - 1)] == word;
    if (goes_on) {
      out.back().end = token.end;
    } else {
      out.push_back(token);
    }
  }
  return out;
}

std::vector<Range> items_of_bytes(const AttributionTarget& target, const std::vector<std::array<int64_t, 2>>& stretches) {
  const std::vector<Range>& tokens = target.items();
  std::vector<Range> out;
  for (const auto& [begin, end] : stretches) {
    const Range held = tokens_of_bytes(target.plan().text, begin, end);
    const int64_t from = out.empty() ? held.begin : std::max(held.begin, out.back().end);
    const auto starts_before = [](const Range& token, int64_t id) { return token.begin < id; };
    const auto first = std::lower_bound(tokens.begin(), tokens.end(), from, starts_before);
    const auto last = std::lower_bound(first, tokens.end(), held.end, starts_before);
    if (first != last) out.push_back({first->begin, (last - 1)->end});
  }
  return out;
}

std::array<int64_t, 2> bytes_of_item(const AttributionTarget& target, const Range& item) {
  const auto& offsets = target.plan().text.offsets;
  return {offsets[static_cast<size_t>(item.begin)][0], offsets[static_cast<size_t>(item.end - 1)][1]};
}

std::vector<uint8_t> items_in_bytes(const AttributionTarget& target, const std::vector<std::array<int64_t, 2>>& stretches) {
  std::vector<uint8_t> out;
  const RunText& text = target.plan().text;
  for (const Range& item : target.items()) {
    bool is_in = false;
    for (int64_t id = item.begin; id < item.end; ++id) {
      const auto [begin, end] = text.offsets[static_cast<size_t>(id)];
      for (const auto& [from, to] : stretches) is_in = is_in || (begin < to && from < end);
    }
    out.push_back(is_in);
  }
  return out;
}

std::vector<Range> items_of_sentences(const AttributionTarget& target) {
  const std::string& text = target.plan().text.text;
  std::vector<std::array<int64_t, 2>> stretches;
  size_t from = 0;
  for (const std::string& sentence : sentences_of(text)) {
    const size_t found = text.find(sentence, from);
    if (found == std::string::npos) continue;
    from = found + sentence.size();
    stretches.push_back({static_cast<int64_t>(found), static_cast<int64_t>(from)});
  }
  return items_of_bytes(target, stretches);
}

}  // namespace clearhead::explain
