// Edits that keep the origin of every byte: transform (with changes as the `tokenizers` package counts them), prepend,
// replace, and lower-casing in place.
#include "text/aligned.h"

#include <utility>

#include "base/utf8.h"

namespace clearhead::text {

Aligned::Aligned(const Aligned& from, size_t begin, size_t end) {
  owned_ = std::string(from.bytes().substr(begin, end - begin));
  is_view_ = false;
  is_identity_ = from.is_identity_;
  base_ = from.base_ + static_cast<uint32_t>(begin);
  if (!is_identity_) {
    origins_.assign(from.origins_.begin() + static_cast<std::ptrdiff_t>(begin), from.origins_.begin() + static_cast<std::ptrdiff_t>(end));
  }
}

Origin Aligned::at(size_t i) const {
  if (!is_identity_) return origins_[i];
  const std::string_view text = bytes();
  size_t begin = i;
  while (begin > 0 && continues_character(text[begin])) --begin;
  size_t end = i + 1;
  while (end < text.size() && continues_character(text[end])) ++end;
  return {base_ + static_cast<uint32_t>(begin), base_ + static_cast<uint32_t>(end)};
}

Origin Aligned::origin(size_t begin, size_t end) const { return {at(begin).begin, at(end - 1).end}; }

void Aligned::become(std::string bytes, std::vector<Origin> origins) {
  owned_ = std::move(bytes);
  origins_ = std::move(origins);
  is_view_ = is_identity_ = false;
}

void Aligned::transform(const std::vector<Change>& changes, size_t removed_first) {
  const std::string_view old = bytes();
  std::string out;
  std::vector<Origin> origins;
  out.reserve(old.size() + 16);
  origins.reserve(old.size() + 16);
  size_t offset = 0;
  const auto skip = [&] {
    if (offset < old.size()) offset += decode_valid(old, offset).length;
  };
  for (size_t k = 0; k < removed_first; ++k) skip();
  for (const Change& change : changes) {
    Origin origin{base_, base_};
    if (change.change > 0) {
      if (offset > 0) origin = at(offset - 1);
    } else {
      if (offset < old.size()) origin = at(offset);
      skip();
      for (int32_t k = change.change; k < 0; ++k) skip();
    }
    append_utf8(out, change.c);
    origins.resize(out.size(), origin);
  }
  become(std::move(out), std::move(origins));
}

void Aligned::prepend(std::string_view text) {
  const std::string_view old = bytes();
  if (old.empty()) return;
  std::vector<Origin> origins(text.size(), at(0));
  origins.reserve(text.size() + old.size());
  for (size_t i = 0; i < old.size(); ++i) origins.push_back(at(i));
  std::string out(text);
  out.append(old);
  become(std::move(out), std::move(origins));
}

void Aligned::lower_ascii() {
  if (is_view_) {
    owned_ = std::string(view_);
    is_view_ = false;  // origins stay the identity, because no byte moves
  }
  for (char& c : owned_) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
}

void Aligned::replace(const std::vector<std::pair<size_t, size_t>>& ranges, std::string_view content) {
  if (ranges.empty()) return;
  const std::string_view old = bytes();
  std::string out;
  std::vector<Origin> origins;
  size_t from = 0;
  const auto keep_until = [&](size_t end) {
    out.append(old.substr(from, end - from));
    for (size_t i = from; i < end; ++i) origins.push_back(at(i));
  };
  for (const auto& [begin, end] : ranges) {
    keep_until(begin);
    out.append(content);
    origins.resize(out.size(), end > 0 ? at(end - 1) : Origin{base_, base_});
    from = end;
  }
  keep_until(old.size());
  become(std::move(out), std::move(origins));
}

}  // namespace clearhead::text
