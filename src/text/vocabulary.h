// A map between token strings and ids, both ways: one arena of bytes and an open-addressing hash table.
//
// A token has one id. Several tokens with the same id occur only in hostile files; the last one added is then
// the token of that id.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead::text {

uint64_t hash_bytes(std::string_view bytes);

class Vocabulary {
 public:
  // Far above the ids of any model; limits the memory that a malicious file can make us allocate.
  static constexpr int64_t kMaximumId = (int64_t{1} << 24) - 1;

  void reserve(size_t tokens);
  /// Adds a token, or gives a known token a new id. The caller must have checked 0 ≤ id ≤ kMaximumId.
  void add(std::string_view token, int32_t id);
  /// −1 if not found.
  int32_t find(std::string_view token) const { return find_hashed(token, hash_bytes(token)); }
  int32_t find_hashed(std::string_view token, uint64_t hash) const;
  bool contains(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < entry_of_.size() && entry_of_[static_cast<size_t>(id)] >= 0;
  }
  std::string_view token(int32_t id) const;  // empty if there is none
  size_t size() const { return entries_.size(); }
  int64_t end_id() const { return static_cast<int64_t>(entry_of_.size()); }
  size_t longest() const { return longest_; }  // bytes of the longest token

 private:
  struct Entry {
    uint64_t begin;
    uint32_t length;
    int32_t id;
  };
  struct Slot {
    uint32_t tag = 0;  // upper half of the hash
    int32_t entry = -1;
  };
  std::string_view text(const Entry& entry) const { return std::string_view(arena_).substr(entry.begin, entry.length); }
  int32_t find_entry(std::string_view token, uint64_t hash) const;
  void grow(size_t slots);

  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<int32_t> entry_of_;  // by id
  std::vector<Slot> slots_;
  size_t longest_ = 0;
};

}  // namespace clearhead::text
