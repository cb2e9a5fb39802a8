// Joins windows in the middle half of their overlap, if the ids and offsets of both agree there. Otherwise the earlier
// window is doubled.
#include "text/encode_parts.h"

#include <algorithm>

#include "base/utf8.h"

namespace clearhead::text {
namespace {

size_t boundary(std::string_view text, size_t at) {
  for (int k = 0; k < 3 && at > 0 && at < text.size() && continues_character(text[at]); ++k) --at;
  return at;
}

// A window of the text and its tokens, including the special tokens at both ends.
struct Part {
  size_t begin = 0, end = 0;
  Encoding encoding{};
  size_t first = 0, last = 0;  // tokens of the text itself
};

Part read(const Tokenizer& tokenizer, std::string_view text, size_t begin, size_t end, bool special) {
  Part part{begin, end, tokenizer.encode(text.substr(begin, end - begin), {.add_special_tokens = special})};
  part.last = part.encoding.size();
  while (part.first < part.last && part.encoding.is_special(part.first)) ++part.first;
  while (part.last > part.first && part.encoding.is_special(part.last - 1)) --part.last;
  for (size_t i = part.first; i < part.last; ++i) {
    for (int64_t& offset : part.encoding.offsets[i]) offset += static_cast<int64_t>(begin);
  }
  return part;
}

Encoding cut(const Encoding& from, size_t begin, size_t end) {
  const auto of = [&](const auto& list) {
    return std::decay_t<decltype(list)>(list.begin() + static_cast<std::ptrdiff_t>(begin), list.begin() + static_cast<std::ptrdiff_t>(end));
  };
  return {of(from.ids), of(from.type_ids), of(from.offsets), of(from.segment)};
}

// Sets at_a and at_b to the first token of each window in the middle half of the overlap. Returns false unless the tokens
// of both windows are equal there.
bool join(const Part& a, const Part& b, size_t overlap, size_t& at_a, size_t& at_b) {
  const auto from = static_cast<int64_t>(b.begin + overlap / 4), until = static_cast<int64_t>(a.end - overlap / 4);
  const auto first_at = [](const Part& part, int64_t offset) {
    const auto& list = part.encoding.offsets;
    return static_cast<size_t>(std::lower_bound(list.begin() + static_cast<std::ptrdiff_t>(part.first),
                                                list.begin() + static_cast<std::ptrdiff_t>(part.last), offset,
                                                [](const std::array<int64_t, 2>& token, int64_t value) { return token[0] < value; }) -
                               list.begin());
  };
  at_a = first_at(a, from);
  at_b = first_at(b, from);
  size_t i = at_a, j = at_b;
  for (; i < a.last && a.encoding.offsets[i][1] <= until; ++i, ++j) {
    if (j >= b.last || a.encoding.ids[i] != b.encoding.ids[j] || a.encoding.offsets[i] != b.encoding.offsets[j]) return false;
  }
  return i > at_a;
}

}  // namespace

void encode_parts(const Tokenizer& tokenizer, std::string_view text, bool add_special_tokens,
                  const std::function<void(const Encoding& part)>& take, size_t window, size_t overlap) {
  Part part = read(tokenizer, text, 0, boundary(text, std::min(text.size(), window)), add_special_tokens);
  for (size_t from = 0; part.end < text.size();) {
    const size_t begin = boundary(text, part.end - overlap), end = boundary(text, std::min(text.size(), part.end + window));
    Part next = read(tokenizer, text, begin, end, add_special_tokens);
    size_t at = 0, at_next = 0;
    if (join(part, next, overlap, at, at_next)) {
      take(cut(part.encoding, from, at));
      from = at_next;
      // The tokens before this one were taken from the earlier window.
      next.encoding = cut(next.encoding, from, next.encoding.size());
      next.last -= from;
      next.first = from = 0;
      part = std::move(next);
      continue;
    }
    const int64_t resumed = from < part.last ? part.encoding.offsets[from][0] : 0;
    const bool is_start = part.begin == 0 && part.first >= from;
    Part wider = read(tokenizer, text, part.begin,
                      boundary(text, std::min(text.size(), part.begin + 2 * (part.end - part.begin) + overlap)), add_special_tokens);
    if (!is_start) {
      size_t drop = wider.first;
      while (drop < wider.last && wider.encoding.offsets[drop][0] < resumed) ++drop;
      wider.encoding = cut(wider.encoding, drop, wider.encoding.size());
      wider.last -= drop;
      wider.first = 0;
    }
    part = std::move(wider);
  }
  take(part.encoding);
}

}  // namespace clearhead::text
