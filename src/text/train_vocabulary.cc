// The training loop: a heap of pairs by (count, lower ids); an entry whose count has changed is pushed again with the new
// count. Words are counted in pieces of the texts, on all threads; a piece never ends inside a word.
#include "text/train_vocabulary.h"

#include <algorithm>
#include <map>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "base/format.h"
#include "base/parallel.h"
#include "base/utf8.h"
#include "clearhead/error.h"
#include "text/byte_alphabet.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace clearhead {
namespace {

using namespace text;

constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr double kCounting = 0.7;  // approximate share of the whole time, for `progress`
constexpr const char* kPrefix = "##";

// --- words with counts ---

class WordTable {
 public:
  void add(std::string_view word, int64_t times) {
    int32_t id = words_.find(word);
    if (id < 0) {
      id = static_cast<int32_t>(counts_.size());
      words_.add(word, id);
      counts_.push_back(0);
    }
    counts_[static_cast<size_t>(id)] += times;
  }
  size_t size() const { return counts_.size(); }
  std::string_view word(size_t at) const { return words_.token(static_cast<int32_t>(at)); }
  int64_t count(size_t at) const { return counts_[at]; }

 private:
  Vocabulary words_;
  std::vector<int64_t> counts_;
};

bool ends_in_space(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && text.size() - begin < 4 && continues_character(text[begin])) --begin;
  const std::string_view last = text.substr(begin);
  return valid_prefix(last) == last.size() && is(decode_valid(last, 0).c, kSpace);
}

// Splits texts into pieces that have the same words as the whole: a space after a character that is not a space always
// begins a word.
std::vector<std::string_view> pieces_of(const std::vector<std::string_view>& texts) {
  std::vector<std::string_view> pieces;
  for (const std::string_view text : texts) {
    size_t begin = 0;
    for (size_t at = kPieceBytes; at < text.size(); ++at) {
      if ((text[at] != ' ' && text[at] != '\n') || ends_in_space(text.substr(begin, at - begin))) continue;
      pieces.push_back(text.substr(begin, at - begin));
      begin = at;
      at += kPieceBytes - 1;
    }
    if (begin < text.size()) pieces.push_back(text.substr(begin));
  }
  return pieces;
}

// Counts the words of the texts. The words of BPE are raw bytes.
WordTable count_words(const std::vector<std::string_view>& texts, const VocabularyOptions& options,
                      const std::function<void(double)>& progress) {
  const bool is_bpe = options.kind == VocabularyKind::kByteBpe;
  const std::unique_ptr<Normalizer> normalizer = !is_bpe             ? make_bert_normalizer({})
                                                 : options.lowercase ? read_normalizer(lowercase_normalizer(), "tokenizer", "normalizer")
                                                                     : nullptr;
  const std::unique_ptr<PreTokenizer> pre_tokenizer = is_bpe ? make_byte_level(false, true, false) : make_bert_pre_tokenizer();
  const std::vector<std::string_view> pieces = pieces_of(texts);
  std::vector<WordTable> tables(static_cast<size_t>(threads()));
  parallel_for(static_cast<int64_t>(pieces.size()), [&](int64_t item, int thread) {
    std::string_view piece = pieces[static_cast<size_t>(item)];
    std::string repaired;
    if (valid_prefix(piece) != piece.size()) piece = repaired = replace_invalid(piece);
    if (piece.size() >= (uint64_t{1} << 31)) fail(ErrorCode::kTooLong, "a text has 2 GiB without a space or a line break");
    Aligned text(piece, 0);
    if (normalizer) normalizer->apply(text);
    Cuts cuts;
    cuts.cuts.push_back({0, 0, static_cast<uint32_t>(text.bytes().size()), -1});
    cuts.pool.push_back(std::move(text));
    pre_tokenizer->apply(cuts);
    for (const Cut& cut : cuts.cuts) tables[static_cast<size_t>(thread)].add(cuts.bytes(cut), 1);
    if (thread == 0 && progress) progress(kCounting * static_cast<double>(item) / static_cast<double>(pieces.size()));
  });
  for (size_t thread = 1; thread < tables.size(); ++thread) {
    for (size_t at = 0; at < tables[thread].size(); ++at) tables[0].add(tables[thread].word(at), tables[thread].count(at));
    tables[thread] = {};
  }
  return std::move(tables[0]);
}

// --- tokens of one character ---

// Calls visit(character) for the initial symbols of a word: its bytes in the byte alphabet, or its characters.
template <class Visit>
void for_each_character(std::string_view word, VocabularyKind kind, const Visit& visit) {
  if (kind == VocabularyKind::kByteBpe) {
    for (const char byte : word) visit(spelled(static_cast<unsigned char>(byte)));
    return;
  }
  for (size_t at = 0; at < word.size();) {
    const Decoded decoded = decode_valid(word, at);
    visit(decoded.c);
    at += decoded.length;
  }
}

std::string utf8(char32_t c) {
  std::string out;
  append_utf8(out, c);
  return out;
}

// Ids of the initial symbols, at the start of a word and inside it. BPE uses `first` for both.
struct Alphabet {
  std::unordered_map<char32_t, int32_t> first{}, inside{};
};

class VocabularyTrainer {
 public:
  VocabularyTrainer(const WordTable& words, const VocabularyOptions& options) : options_(options) {
    for (const std::string& token : options.special) add_token(token);
    add_alphabet(words);
    if (static_cast<int64_t>(tokens_.size()) > options.size) {
      fail(ErrorCode::kInvalidArgument,
           "a vocabulary of {} tokens has no room for its {} special tokens and {} single {}; expected a size of {} or more{}",
           options.size, options.special.size(), tokens_.size() - options.special.size(), is_bpe() ? "bytes" : "characters", tokens_.size(),
           is_bpe() ? "" : ", or a smaller alphabet");
    }
    read(words);
  }

  VocabularyTables learn(const std::function<void(double)>& progress) {
    while (static_cast<int64_t>(tokens_.size()) < options_.size && !queue_.empty()) {
      std::pop_heap(queue_.begin(), queue_.end(), later);
      Candidate top = std::move(queue_.back());
      queue_.pop_back();
      const int64_t now = pairs_.at(top.pair).count;
      if (top.count != now) {  // the count has changed since it was queued
        top.count = now;
        push(std::move(top));
        continue;
      }
      if (now < std::max<int64_t>(1, options_.minimum_count)) break;
      merge(top);
      if (progress) progress(kCounting + (1 - kCounting) * static_cast<double>(tokens_.size()) / static_cast<double>(options_.size));
    }
    VocabularyTables tables{std::move(tokens_), {}, static_cast<int64_t>(options_.special.size())};
    if (is_bpe()) tables.merges = ranked();
    return tables;
  }

 private:
  // A pair, its count when it was queued, and the words in which it has formed since it was queued before. As in the
  // `tokenizers` package, a pair that forms again (from a token that can be made in two ways) is queued again, and each
  // entry changes its own words only.
  struct Candidate {
    int64_t count = 0;
    uint64_t pair = 0;
    std::vector<uint32_t> words{};  // ascending
  };
  struct Pair {
    int64_t count = 0;
    int32_t fresh = -1;  // index into fresh_; −1: none
  };
  struct PairHash {
    size_t operator()(uint64_t pair) const {
      pair *= 0x9E3779B97F4A7C15ull;
      return pair ^ (pair >> 32);
    }
  };
  static bool later(const Candidate& a, const Candidate& b) { return a.count != b.count ? a.count < b.count : a.pair > b.pair; }
  static uint64_t pair_of(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  bool is_bpe() const { return options_.kind == VocabularyKind::kByteBpe; }

  int32_t add_token(const std::string& token) {
    int32_t id = ids_.find(token);
    if (id < 0) {
      id = static_cast<int32_t>(tokens_.size());
      tokens_.push_back(token);
      ids_.add(token, id);
    }
    return id;
  }

  void add_alphabet(const WordTable& words) {
    std::map<char32_t, int64_t> counts;
    std::map<char32_t, bool> is_inside;
    if (is_bpe()) {
      for (int byte = 0; byte < 256; ++byte) counts[spelled(static_cast<unsigned char>(byte))] = 0;
    } else {
      for (size_t at = 0; at < words.size(); ++at) {
        bool inside = false;
        for_each_character(words.word(at), options_.kind, [&](char32_t c) {
          counts[c] += words.count(at);
          is_inside[c] |= inside;
          inside = true;
        });
      }
    }
    std::vector<std::pair<char32_t, int64_t>> kept(counts.begin(), counts.end());
    if (!is_bpe() && static_cast<int64_t>(kept.size()) > options_.alphabet) {
      std::stable_sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
      kept.resize(static_cast<size_t>(options_.alphabet));
      std::sort(kept.begin(), kept.end());
    }
    for (const auto& [c, count] : kept) alphabet_.first[c] = add_token(utf8(c));
    if (is_bpe()) return;
    for (const auto& [c, count] : kept) {
      if (is_inside[c]) alphabet_.inside[c] = add_token(kPrefix + utf8(c));
    }
  }

  // Converts words to symbols. Characters outside the alphabet are dropped.
  void read(const WordTable& words) {
    const auto& inside = is_bpe() ? alphabet_.first : alphabet_.inside;
    for (size_t at = 0; at < words.size(); ++at) {
      const size_t begin = symbols_.size();
      bool is_first = true;
      for_each_character(words.word(at), options_.kind, [&](char32_t c) {
        const auto& ids = is_first ? alphabet_.first : inside;
        const auto found = ids.find(c);
        if (found != ids.end()) symbols_.push_back(found->second);
        is_first = false;
      });
      words_.push_back({begin, symbols_.size() - begin, words.count(at)});
      for (size_t i = begin; i + 1 < symbols_.size(); ++i) add(static_cast<uint32_t>(at), symbols_[i], symbols_[i + 1]);
    }
    queue_fresh();
  }

  void add(uint32_t word, int32_t left, int32_t right) {
    Pair& pair = pairs_[pair_of(left, right)];
    pair.count += words_[word].count;
    if (pair.fresh < 0) {
      pair.fresh = static_cast<int32_t>(fresh_.size());
      fresh_.push_back({0, pair_of(left, right), {}});
    }
    std::vector<uint32_t>& in = fresh_[static_cast<size_t>(pair.fresh)].words;
    if (in.empty() || in.back() != word) in.push_back(word);
  }
  void remove(uint32_t word, int32_t left, int32_t right) { pairs_.at(pair_of(left, right)).count -= words_[word].count; }

  void push(Candidate candidate) {
    queue_.push_back(std::move(candidate));
    std::push_heap(queue_.begin(), queue_.end(), later);
  }
  void queue_fresh() {
    for (Candidate& candidate : fresh_) {
      Pair& pair = pairs_.at(candidate.pair);
      pair.fresh = -1;
      candidate.count = pair.count;
      if (pair.count > 0) push(std::move(candidate));
    }
    fresh_.clear();
  }

  void merge(const Candidate& top) {
    const int32_t left = static_cast<int32_t>(top.pair >> 32), right = static_cast<int32_t>(top.pair & 0xFFFFFFFF);
    std::string_view tail = tokens_[static_cast<size_t>(right)];
    if (!is_bpe() && tail.starts_with(kPrefix)) tail.remove_prefix(2);
    const int32_t merged = add_token(tokens_[static_cast<size_t>(left)] + std::string(tail));
    merges_.emplace_back(left, right);
    for (const uint32_t word : top.words) merge_in(word, left, right, merged);
    queue_fresh();
  }

  // Merges the pair in one word, from left to right and in place. The count of the pair itself is not changed: it is not
  // read again unless the pair forms anew.
  void merge_in(uint32_t word, int32_t left, int32_t right, int32_t merged) {
    int32_t* symbols = symbols_.data() + words_[word].begin;
    const size_t length = words_[word].length;
    size_t out = 0;
    for (size_t at = 0; at < length; ++at, ++out) {
      if (symbols[at] != left || at + 1 == length || symbols[at + 1] != right) {
        symbols[out] = symbols[at];
        continue;
      }
      if (out > 0) {
        remove(word, symbols[out - 1], left);
        add(word, symbols[out - 1], merged);
      }
      symbols[out] = merged;
      ++at;
      if (at + 1 < length) {
        remove(word, right, symbols[at + 1]);
        add(word, merged, symbols[at + 1]);
      }
    }
    words_[word].length = out;
  }

  // The merges by rank. A pair that was merged twice has its last rank.
  std::vector<std::pair<int32_t, int32_t>> ranked() const {
    std::vector<std::pair<int32_t, int32_t>> out;
    std::unordered_set<uint64_t> seen;
    for (size_t at = merges_.size(); at-- > 0;) {
      if (seen.insert(pair_of(merges_[at].first, merges_[at].second)).second) out.push_back(merges_[at]);
    }
    std::reverse(out.begin(), out.end());
    return out;
  }

  struct Word {
    size_t begin, length;  // range of symbols_
    int64_t count;
  };
  const VocabularyOptions& options_;
  std::vector<std::string> tokens_;
  Vocabulary ids_;
  Alphabet alphabet_;
  std::vector<int32_t> symbols_;
  std::vector<Word> words_;
  std::unordered_map<uint64_t, Pair, PairHash> pairs_;
  std::vector<Candidate> queue_, fresh_;  // a heap; the pairs that formed in this step
  std::vector<std::pair<int32_t, int32_t>> merges_;
};

void check(const VocabularyOptions& options) {
  std::unordered_set<std::string_view> seen;
  for (const std::string& token : options.special) {
    if (token.empty()) fail(ErrorCode::kInvalidArgument, "a special token is empty");
    if (valid_prefix(token) != token.size()) fail(ErrorCode::kInvalidArgument, "a special token is not valid UTF-8");
    if (!seen.insert(token).second) fail(ErrorCode::kInvalidArgument, "the special token \"{}\" is given twice", token);
  }
  if (options.kind == VocabularyKind::kWordPiece && !seen.contains("[UNK]"))
    fail(ErrorCode::kInvalidArgument, "the special tokens lack \"[UNK]\", which WordPiece needs");
  if (options.size > Vocabulary::kMaximumId)
    fail(ErrorCode::kInvalidArgument, "a vocabulary of {} tokens: expected {} or less", options.size, Vocabulary::kMaximumId);
}

}  // namespace

std::vector<std::string> bert_special_tokens() { return {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}; }

TrainedVocabulary train_vocabulary(const std::vector<std::string_view>& texts, const VocabularyOptions& options,
                                   const std::function<void(double)>& progress) {
  check(options);
  TrainedVocabulary out;
  WordTable words = count_words(texts, options, progress);
  if (words.size() == 0) fail(ErrorCode::kInvalidArgument, "the texts contain no words to train a vocabulary on");
  out.different_words = static_cast<int64_t>(words.size());
  for (size_t at = 0; at < words.size(); ++at) out.words += words.count(at);
  VocabularyTrainer trainer(words, options);
  words = {};
  const VocabularyTables tables = trainer.learn(progress);
  out.tokens = static_cast<int64_t>(tables.tokens.size());
  out.tokenizer_json = options.kind == VocabularyKind::kByteBpe
                           ? bpe_tokenizer_json(tables, {.splits_words = true, .lowercase = options.lowercase, .end = options.end})
                           : wordpiece_tokenizer_json(tables);
  return out;
}

}  // namespace clearhead
