// A text that can be transformed and remembers the origin of every byte.
//
// `bytes` is valid UTF-8. Byte i came from the characters [origin[i].begin, origin[i].end) of the original text. While
// nothing has changed, origins are not stored: byte i came from the character at base + i. A range of bytes maps to
// [begin of the first byte's origin, end of the last byte's origin). Inserted text shares the origin of the text before
// it; removed text has no origin.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/unicode.h"

namespace clearhead::text {

struct Origin {
  uint32_t begin = 0, end = 0;
};

class Aligned {
 public:
  Aligned() = default;
  /// A view of [base, base + bytes.size()) of the original text, which must outlive this object.
  Aligned(std::string_view bytes, uint32_t base) : view_(bytes), base_(base) {}
  Aligned(const Aligned& from, size_t begin, size_t end);  // copies [begin, end)
  Aligned(Aligned&&) noexcept = default;
  Aligned& operator=(Aligned&&) noexcept = default;
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;

  std::string_view bytes() const { return is_view_ ? view_ : std::string_view(owned_); }
  bool empty() const { return bytes().empty(); }
  Origin origin(size_t begin, size_t end) const;  // begin < end

  /// Replaces all bytes; origins follow `changes` (Change in unicode.h). `removed_first`: number of characters removed before
  /// the first change.
  void transform(const std::vector<Change>& changes, size_t removed_first = 0);
  /// Replaces every character by what write(c, out) appends, which gets the character's origin. If write returns false,
  /// nothing is changed and map returns false.
  template <class Write>
  bool map(const Write& write);
  /// Inserts `text` at the front, with the origin of the first character. An empty text stays empty.
  void prepend(std::string_view text);
  /// Lower-cases ASCII letters in place.
  void lower_ascii();
  /// Keeps the characters for which keep(c) is true.
  template <class Keep>
  void filter(const Keep& keep);
  /// Replaces the ranges (ascending, not overlapping) by `content`, which gets the origin of the last byte replaced.
  void replace(const std::vector<std::pair<size_t, size_t>>& ranges, std::string_view content);

 private:
  Origin at(size_t i) const;
  void become(std::string bytes, std::vector<Origin> origins);

  std::string_view view_{};
  std::string owned_{};
  bool is_view_ = true, is_identity_ = true;
  uint32_t base_ = 0;
  std::vector<Origin> origins_{};
};

template <class Write>
bool Aligned::map(const Write& write) {
  const std::string_view text = bytes();
  std::string out;
  std::vector<Origin> origins;
  out.reserve(text.size() + text.size() / 4 + 16);
  origins.reserve(text.size() + text.size() / 4 + 16);
  for (size_t i = 0; i < text.size();) {
    const Decoded decoded = decode_valid(text, i);
    if (!write(decoded.c, out)) return false;
    const uint32_t begin = base_ + static_cast<uint32_t>(i);
    origins.resize(out.size(), is_identity_ ? Origin{begin, begin + decoded.length} : origins_[i]);
    i += decoded.length;
  }
  become(std::move(out), std::move(origins));
  return true;
}

template <class Keep>
void Aligned::filter(const Keep& keep) {
  const std::string_view text = bytes();
  std::vector<Change> changes;
  size_t removed_first = 0;
  int32_t removed = 0;
  bool any = false;
  for (size_t i = 0; i < text.size();) {
    const Decoded decoded = decode_valid(text, i);
    i += decoded.length;
    if (!keep(decoded.c)) {
      ++removed;
      any = true;
      continue;
    }
    if (changes.empty()) {
      removed_first = static_cast<size_t>(removed);
    } else {
      changes.back().change = -removed;
    }
    removed = 0;
    changes.push_back({decoded.c, 0});
  }
  if (!any) return;
  if (!changes.empty()) changes.back().change = -removed;
  transform(changes, removed_first);
}

}  // namespace clearhead::text
