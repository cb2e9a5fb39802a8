// Hashes 8 bytes at a time; linear probing in a table that doubles.
#include "text/vocabulary.h"

#include <algorithm>
#include <cstring>

namespace clearhead::text {

uint64_t hash_bytes(std::string_view bytes) {
  // Eight bytes a step, multiplied and folded. The length is part of the hash, so that no prefix hashes like the whole.
  constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15ull;
  uint64_t hash = bytes.size() * kMultiplier;
  const char* at = bytes.data();
  size_t left = bytes.size();
  const auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 32;
  };
  for (; left >= 8; left -= 8, at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, at, 8);
    mix(word);
  }
  if (left > 0) {
    uint64_t word = 0;
    std::memcpy(&word, at, left);
    mix(word);
  }
  return hash * kMultiplier;
}

void Vocabulary::reserve(size_t tokens) {
  entries_.reserve(tokens);
  size_t slots = 16;
  while (slots < tokens * 2) slots *= 2;
  if (slots > slots_.size()) grow(slots);
}

void Vocabulary::grow(size_t slots) {
  slots_.assign(slots, Slot{});
  for (size_t e = 0; e < entries_.size(); ++e) {
    const uint64_t hash = hash_bytes(text(entries_[e]));
    size_t s = hash & (slots - 1);
    while (slots_[s].entry >= 0) s = (s + 1) & (slots - 1);
    slots_[s] = {static_cast<uint32_t>(hash >> 32), static_cast<int32_t>(e)};
  }
}

int32_t Vocabulary::find_entry(std::string_view token, uint64_t hash) const {
  if (slots_.empty()) return -1;
  const uint32_t tag = static_cast<uint32_t>(hash >> 32);
  for (size_t s = hash & (slots_.size() - 1); slots_[s].entry >= 0; s = (s + 1) & (slots_.size() - 1)) {
    if (slots_[s].tag == tag && text(entries_[static_cast<size_t>(slots_[s].entry)]) == token) return slots_[s].entry;
  }
  return -1;
}

int32_t Vocabulary::find_hashed(std::string_view token, uint64_t hash) const {
  const int32_t entry = find_entry(token, hash);
  return entry < 0 ? -1 : entries_[static_cast<size_t>(entry)].id;
}

void Vocabulary::add(std::string_view token, int32_t id) {
  if ((entries_.size() + 1) * 2 > slots_.size()) grow(std::max<size_t>(16, slots_.size() * 2));
  const uint64_t hash = hash_bytes(token);
  int32_t entry = find_entry(token, hash);
  if (entry >= 0) {
    Entry& old = entries_[static_cast<size_t>(entry)];
    if (entry_of_[static_cast<size_t>(old.id)] == entry) entry_of_[static_cast<size_t>(old.id)] = -1;
    old.id = id;
  } else {
    entry = static_cast<int32_t>(entries_.size());
    entries_.push_back({arena_.size(), static_cast<uint32_t>(token.size()), id});
    arena_.append(token);
    longest_ = std::max(longest_, token.size());
    size_t s = hash & (slots_.size() - 1);
    while (slots_[s].entry >= 0) s = (s + 1) & (slots_.size() - 1);
    slots_[s] = {static_cast<uint32_t>(hash >> 32), entry};
  }
  if (static_cast<size_t>(id) >= entry_of_.size()) entry_of_.resize(static_cast<size_t>(id) + 1, -1);
  entry_of_[static_cast<size_t>(id)] = entry;
}

std::string_view Vocabulary::token(int32_t id) const {
  if (!contains(id)) return {};
  return text(entries_[static_cast<size_t>(entry_of_[static_cast<size_t>(id)])]);
}

}  // namespace clearhead::text
