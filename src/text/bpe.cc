// Byte-pair encoding. A word starts as its characters (or bytes). Of all neighbours that can merge, the pair of lowest rank
// is merged, the leftmost one first, until no pair can. Short words are scanned for the lowest rank, long ones use a heap:
// O(n log n). The tokens of words already seen in a text are cached.
#include <algorithm>
#include <array>

#include "base/format.h"
#include "text/byte_alphabet.h"
#include "text/model.h"
#include "text/unicode.h"

namespace clearhead::text {
namespace {

constexpr uint32_t kNoMerge = UINT32_MAX;
constexpr size_t kScannedSymbols = 48;   // for more symbols the heap is faster
constexpr size_t kRememberedBytes = 64;  // longer words rarely repeat

// (left id, right id) → rank and merged id. Open addressing, at most half full.
class MergeTable {
 public:
  struct Found {
    uint32_t rank = kNoMerge;
    int32_t id = -1;
  };
  void build(size_t count) {
    size_t slots = 16;
    while (slots < count * 2) slots *= 2;
    slots_.assign(slots, Slot{});
  }
  void add(int32_t left, int32_t right, Found value) {
    Slot& slot = slots_[place(key_of(left, right))];
    slot = {key_of(left, right), value};  // a pair given twice gets its last rank
  }
  Found find(int32_t left, int32_t right) const {
    const Slot& slot = slots_[place(key_of(left, right))];
    return slot.value;
  }

 private:
  struct Slot {
    uint64_t key = UINT64_MAX;
    Found value{};
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  size_t place(uint64_t key) const {
    uint64_t hash = key * 0x9E3779B97F4A7C15ull;
    hash ^= hash >> 29;
    size_t s = hash & (slots_.size() - 1);
    while (slots_[s].key != key && slots_[s].key != UINT64_MAX) s = (s + 1) & (slots_.size() - 1);
    return s;
  }
  std::vector<Slot> slots_;
};

class Bpe : public Model {
 public:
  Bpe(Vocabulary vocabulary, const std::vector<Merge>& merges, BpeOptions options, std::string_view where) : options_(std::move(options)) {
    vocabulary_ = std::move(vocabulary);
    unknown = options_.unknown;
    if (options_.has_unknown) unknown_id_ = vocabulary_.find(options_.unknown);
    byte_ids_.fill(-1);
    for (int b = 0; b < 256; ++b) {
      std::string token;
      append_utf8(token, spelled(static_cast<unsigned char>(b)));
      byte_ids_[static_cast<size_t>(b)] = vocabulary_.find(token);
      fallback_ids_[static_cast<size_t>(b)] = vocabulary_.find(format("<0x{:02X}>", b));
    }
    add_merges(merges, where);
    if (options_.is_raw && options_.ignores_merges) {
      for (int32_t id = 0; id < vocabulary_.end_id(); ++id) {
        if (!vocabulary_.contains(id)) continue;
        if (const auto bytes = bytes_of(vocabulary_.token(id))) words_.add(*bytes, id);
      }
    }
  }

  void tokenize(std::string_view word, Scratch& scratch) const override {
    scratch.pieces.clear();
    if (options_.ignores_merges) {
      const int32_t id = options_.is_raw ? words_.find(word) : vocabulary_.find(word);
      if (id >= 0) {
        scratch.pieces.push_back({id, 0, static_cast<uint32_t>(word.size())});
        return;
      }
    }
    if (scratch.known.empty() || word.size() > kRememberedBytes) return merge(word, scratch);
    Scratch::Known& known = scratch.known[hash_bytes(word) >> 51];
    static_assert(Scratch::kKnownWords == size_t{1} << (64 - 51));
    if (known.length == word.size() && std::string_view(known.word, known.length) == word) {
      scratch.pieces.assign(scratch.memory.begin() + known.first, scratch.memory.begin() + known.first + known.count);
      return;
    }
    merge(word, scratch);
    if (scratch.memory.size() > (size_t{1} << 20)) {
      scratch.memory.clear();
      std::fill(scratch.known.begin(), scratch.known.end(), Scratch::Known{});
    }
    known = {word.data(), static_cast<uint32_t>(word.size()), static_cast<uint32_t>(scratch.memory.size()),
             static_cast<uint32_t>(scratch.pieces.size())};
    scratch.memory.insert(scratch.memory.end(), scratch.pieces.begin(), scratch.pieces.end());
  }

 private:
  void add_merges(const std::vector<Merge>& merges, std::string_view where) {
    merges_.build(merges.size());
    std::string together;
    for (size_t rank = 0; rank < merges.size(); ++rank) {
      const std::string_view left = merges[rank].left, right = merges[rank].right;  // clang 14 cannot capture bindings
      const auto need = [&](std::string_view token) {
        const int32_t id = vocabulary_.find(token);
        if (id < 0)
          fail(ErrorCode::kFormat, "{}: merge {} (\"{}\" + \"{}\") needs the token \"{}\", which is not in the vocabulary", where, rank,
               left, right, token);
        return id;
      };
      const int32_t left_id = need(left), right_id = need(right);
      if (right.size() < options_.prefix.size())
        fail(ErrorCode::kFormat, "{}: merge {}: \"{}\" is shorter than the continuation prefix", where, rank, right);
      together.assign(left).append(right.substr(options_.prefix.size()));
      merges_.add(left_id, right_id, {static_cast<uint32_t>(rank), need(together)});
    }
  }

  static void push(Scratch& scratch, int32_t id, size_t& position, size_t bytes, size_t word_size) {
    const size_t end = std::min(position + bytes, word_size);
    scratch.symbols.push_back({id, static_cast<uint32_t>(std::min(position, word_size)), static_cast<uint32_t>(end), 0, 0, kNoMerge, -1});
    position += bytes;
  }

  int32_t unknown_id() const {
    if (unknown_id_ < 0) fail(ErrorCode::kFormat, "the vocabulary has no \"{}\" token, and this text needs it", options_.unknown);
    return unknown_id_;
  }

  // An unknown token that is held back so that the next one can be fused with it (fuse_unk).
  struct Held {
    bool any = false;
    size_t bytes = 0;
  };
  void spell_unknown(size_t bytes, Held& held, size_t& position, size_t word_size, Scratch& scratch) const {
    if (!options_.has_unknown) return;
    const int32_t id = unknown_id();
    if (held.any && options_.fuses_unknown) {
      held.bytes += bytes;
      return;
    }
    if (held.any) push(scratch, id, position, held.bytes, word_size);
    held = {true, bytes};
  }
  void release(Held& held, size_t& position, size_t word_size, Scratch& scratch) const {
    if (held.any) push(scratch, unknown_id_, position, held.bytes, word_size);
    held = {};
  }

  void spell_raw(std::string_view word, Scratch& scratch) const {
    size_t position = 0;
    Held held;
    for (const char c : word) {
      const int32_t id = byte_ids_[static_cast<unsigned char>(c)];
      if (id < 0) {
        spell_unknown(1, held, position, word.size(), scratch);
        continue;
      }
      release(held, position, word.size(), scratch);
      push(scratch, id, position, 1, word.size());
    }
    release(held, position, word.size(), scratch);
  }

  void spell(std::string_view word, Scratch& scratch) const {
    size_t position = 0;
    Held held;
    for (size_t at = 0; at < word.size();) {
      const uint32_t length = decode_valid(word, at).length;
      std::string_view symbol = word.substr(at, length);
      if ((at > 0 && !options_.prefix.empty()) || (at + length == word.size() && !options_.suffix.empty())) {
        scratch.buffer.clear();
        if (at > 0) scratch.buffer += options_.prefix;
        scratch.buffer += symbol;
        if (at + length == word.size()) scratch.buffer += options_.suffix;
        symbol = scratch.buffer;
      }
      at += length;
      const int32_t id = vocabulary_.find(symbol);
      if (id >= 0) {
        release(held, position, word.size(), scratch);
        push(scratch, id, position, length, word.size());
      } else if (!spell_bytes(symbol, position, word.size(), scratch)) {
        spell_unknown(length, held, position, word.size(), scratch);
      }
    }
    release(held, position, word.size(), scratch);
  }

  bool spell_bytes(std::string_view symbol, size_t& position, size_t word_size, Scratch& scratch) const {
    if (!options_.falls_back_to_bytes) return false;
    for (const char c : symbol) {
      if (fallback_ids_[static_cast<unsigned char>(c)] < 0) return false;
    }
    for (const char c : symbol) push(scratch, fallback_ids_[static_cast<unsigned char>(c)], position, 1, word_size);
    return true;
  }

  void merge(std::string_view word, Scratch& scratch) const {
    scratch.symbols.clear();
    if (options_.is_raw) {
      spell_raw(word, scratch);
    } else {
      spell(word, scratch);
    }
    if (scratch.symbols.size() <= kScannedSymbols) {
      merge_scanning(scratch.symbols);
    } else {
      merge_queued(scratch);
    }
    for (const Scratch::Symbol& symbol : scratch.symbols) {
      if (symbol.id >= 0) scratch.pieces.push_back({symbol.id, symbol.begin, symbol.end});
    }
  }

  void rank(Scratch::Symbol& left, const Scratch::Symbol& right) const {
    const MergeTable::Found found = merges_.find(left.id, right.id);
    left.rank = found.rank;
    left.merged = found.id;
  }

  void merge_scanning(std::vector<Scratch::Symbol>& symbols) const {
    size_t count = symbols.size();
    for (size_t i = 0; i + 1 < count; ++i) rank(symbols[i], symbols[i + 1]);
    while (count > 1) {
      size_t best = 0;
      for (size_t i = 1; i + 1 < count; ++i) {
        if (symbols[i].rank < symbols[best].rank) best = i;
      }
      if (symbols[best].rank == kNoMerge) break;
      symbols[best].id = symbols[best].merged;
      symbols[best].end = symbols[best + 1].end;
      for (size_t i = best + 1; i + 1 < count; ++i) symbols[i] = symbols[i + 1];
      --count;
      symbols[best].rank = kNoMerge;
      if (best + 1 < count) rank(symbols[best], symbols[best + 1]);
      if (best > 0) rank(symbols[best - 1], symbols[best]);
    }
    symbols.resize(count);
  }

  void merge_queued(Scratch& scratch) const {
    std::vector<Scratch::Symbol>& symbols = scratch.symbols;
    std::vector<Scratch::Candidate>& queue = scratch.queue;
    queue.clear();
    const auto later = [](const Scratch::Candidate& a, const Scratch::Candidate& b) {
      return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
    };
    const int32_t count = static_cast<int32_t>(symbols.size());
    for (int32_t i = 0; i < count; ++i) {
      Scratch::Symbol& symbol = symbols[static_cast<size_t>(i)];
      symbol.previous = i - 1;
      symbol.next = i + 1 < count ? i + 1 : -1;
      if (symbol.next < 0) continue;
      const int32_t right = symbols[static_cast<size_t>(symbol.next)].id;
      const MergeTable::Found found = merges_.find(symbol.id, right);
      if (found.id >= 0) queue.push_back({found.rank, static_cast<uint32_t>(i), symbol.id, right});
    }
    std::make_heap(queue.begin(), queue.end(), later);
    const auto offer = [&](int32_t at) {
      if (at < 0 || symbols[static_cast<size_t>(at)].next < 0) return;
      const Scratch::Symbol& left = symbols[static_cast<size_t>(at)];
      const int32_t right = symbols[static_cast<size_t>(left.next)].id;
      const MergeTable::Found found = merges_.find(left.id, right);
      if (found.id < 0) return;
      queue.push_back({found.rank, static_cast<uint32_t>(at), left.id, right});
      std::push_heap(queue.begin(), queue.end(), later);
    };
    while (!queue.empty()) {
      std::pop_heap(queue.begin(), queue.end(), later);
      const Scratch::Candidate top = queue.back();
      queue.pop_back();
      Scratch::Symbol& left = symbols[top.position];
      if (left.id != top.left || left.next < 0) continue;  // one of the two has changed since it was queued
      Scratch::Symbol& right = symbols[static_cast<size_t>(left.next)];
      if (right.id != top.right) continue;
      left.id = merges_.find(top.left, top.right).id;
      left.end = right.end;
      left.next = right.next;
      right.id = -1;
      if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = static_cast<int32_t>(top.position);
      offer(left.previous);
      offer(static_cast<int32_t>(top.position));
    }
  }

  BpeOptions options_;
  MergeTable merges_;
  std::array<int32_t, 256> byte_ids_{}, fallback_ids_{};
  Vocabulary words_;  // tokens as raw bytes, for ignore_merges
  int32_t unknown_id_ = -1;
};

}  // namespace

std::unique_ptr<Model> make_bpe(Vocabulary vocabulary, const std::vector<Merge>& merges, BpeOptions options, std::string_view where) {
  return std::make_unique<Bpe>(std::move(vocabulary), merges, std::move(options), where);
}

}  // namespace clearhead::text
