// Words are compared as ids, n-grams as sorted arrays, and common subsequences are found by dynamic programming.
#include "metrics/rouge.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <unordered_map>

#include "metrics/checks.h"
#include "text/scripts.h"
#include "text/strings.h"
#include "text/unicode.h"

namespace clearhead::metrics {
namespace {

using Words = std::vector<int32_t>;

// The word ids of a text, whole and line by line.
struct Cut {
  Words whole;
  std::vector<Words> lines;
};

class Cutter {
 public:
  explicit Cutter(const RougeWords& words) : words_(words) {}

  Cut cut(std::string_view text) {
    Cut out{numbered(text), {}};
    while (true) {
      const size_t end = text.find('\n');
      if (end != 0 && !text.empty()) out.lines.push_back(numbered(text.substr(0, end)));
      if (end == std::string_view::npos) return out;
      text.remove_prefix(end + 1);
    }
  }
  size_t size() const { return numbers_.size(); }

 private:
  Words numbered(std::string_view text) {
    Words out;
    for (std::string& word : words_(text))
      out.push_back(numbers_.try_emplace(std::move(word), static_cast<int32_t>(numbers_.size())).first->second);
    return out;
  }

  const RougeWords& words_;
  std::unordered_map<std::string, int32_t> numbers_;
};

RougeScore score_of(size_t shared, size_t ours, size_t theirs) {
  RougeScore out;
  if (ours > 0) out.precision = static_cast<double>(shared) / static_cast<double>(ours);
  if (theirs > 0) out.recall = static_cast<double>(shared) / static_cast<double>(theirs);
  if (out.precision + out.recall > 0) out.f = 2 * out.precision * out.recall / (out.precision + out.recall);
  return out;
}

// All n-grams of one order (1 or 2), sorted.
std::vector<int64_t> grams(const Words& words, size_t order) {
  std::vector<int64_t> out;
  for (size_t at = 0; at + order <= words.size(); ++at) {
    out.push_back(order == 1 ? words[at] : (static_cast<int64_t>(words[at]) << 32) + words[at + 1]);
  }
  std::sort(out.begin(), out.end());
  return out;
}

RougeScore score_grams(const Words& summary, const Words& reference, size_t order) {
  const std::vector<int64_t> ours = grams(summary, order), theirs = grams(reference, order);
  std::vector<int64_t> both;
  std::set_intersection(ours.begin(), ours.end(), theirs.begin(), theirs.end(), std::back_inserter(both));
  return score_of(both.size(), ours.size(), theirs.size());
}

size_t common_length(const Words& a, const Words& b) {
  std::vector<size_t> row(b.size() + 1);  // [end in b]: common length with the words of a so far
  for (const int32_t word : a) {
    size_t diagonal = 0;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = word == b[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  return row.back();
}

// Marks the positions in the reference of its longest common subsequence with the summary. Where there are several, it is
// the one that rouge-score's backtracking finds.
void mark_common(const Words& reference, const Words& summary, std::vector<char>& marked) {
  const size_t width = summary.size() + 1;
  std::vector<int32_t> table((reference.size() + 1) * width);  // [end in reference, end in summary]
  for (size_t i = 1; i <= reference.size(); ++i) {
    for (size_t j = 1; j < width; ++j) {
      table[i * width + j] = reference[i - 1] == summary[j - 1] ? table[(i - 1) * width + j - 1] + 1
                                                                : std::max(table[(i - 1) * width + j], table[i * width + j - 1]);
    }
  }
  for (size_t i = reference.size(), j = summary.size(); i > 0 && j > 0;) {
    if (reference[i - 1] == summary[j - 1]) {
      marked[--i] = 1;
      --j;
    } else if (table[i * width + j - 1] > table[(i - 1) * width + j]) {
      --j;
    } else {
      --i;
    }
  }
}

RougeScore score_lines(const Cut& summary, const Cut& reference, size_t vocabulary) {
  std::vector<int64_t> ours_left(vocabulary), theirs_left(vocabulary);  // [word]: how often it may still count
  size_t ours = 0, theirs = 0, shared = 0;
  for (const Words& line : summary.lines) {
    ours += line.size();
    for (const int32_t word : line) ++ours_left[static_cast<size_t>(word)];
  }
  for (const Words& line : reference.lines) {
    theirs += line.size();
    for (const int32_t word : line) ++theirs_left[static_cast<size_t>(word)];
  }
  for (const Words& line : reference.lines) {
    std::vector<char> marked(line.size());
    for (const Words& other : summary.lines) mark_common(line, other, marked);
    for (size_t i = 0; i < line.size(); ++i) {
      const auto word = static_cast<size_t>(line[i]);
      if (marked[i] == 0 || ours_left[word] == 0 || theirs_left[word] == 0) continue;
      ++shared;
      --ours_left[word];
      --theirs_left[word];
    }
  }
  return score_of(shared, ours, theirs);
}

constexpr RougeScore Rouge::*kKinds[] = {&Rouge::rouge1, &Rouge::rouge2, &Rouge::rouge_l, &Rouge::rouge_l_sum};
constexpr double RougeScore::*kNumbers[] = {&RougeScore::precision, &RougeScore::recall, &RougeScore::f};

}  // namespace

namespace {

bool is_ascii_word(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// True for letters, digits and marks of scripts other than Latin. Blocks up to the combining diacritical marks belong to
// Latin text.
bool is_word_of_other_script(char32_t c) {
  constexpr char32_t kLastOfLatin = 0x36F;
  if (c <= kLastOfLatin) return false;
  return text::is(c, text::kLetter | text::kNumber | text::kCombiningMark) && !text::is_latin(c);
}

std::vector<std::string> split_into_words(std::string_view text, bool is_of_any_script) {
  const std::string valid = text::replace_invalid(text), lower = text::lower(valid);
  std::vector<std::string> words;
  enum { kNone, kAscii, kOther, kAlone } open = kNone;  // kind of the last word while it can grow, else kNone
  for (size_t at = 0; at < lower.size();) {
    const text::Decoded next = text::decode_valid(lower, at);
    const std::string_view character = std::string_view(lower).substr(at, next.length);
    at += next.length;
    const auto kind = is_ascii_word(next.c)                                   ? kAscii
                      : !is_of_any_script || !is_word_of_other_script(next.c) ? kNone
                      : text::is_written_without_spaces(next.c)               ? kAlone
                                                                              : kOther;
    const bool is_mark = kind != kNone && text::is(next.c, text::kCombiningMark);
    const bool grows = open != kNone && kind != kNone && (is_mark || (kind == open && kind != kAlone));
    if (kind != kNone && !grows) words.emplace_back();
    if (kind != kNone) words.back() += character;
    if (!grows) open = kind;
  }
  return words;
}

}  // namespace

std::vector<std::string> words_of_any_script(std::string_view text) { return split_into_words(text, true); }

// U+212A (Kelvin) and U+0130 count too: in lower case they are, or begin with, an ASCII letter.
std::vector<std::string> latin_words(std::string_view text) { return split_into_words(text, false); }

Rouge rouge(std::string_view summary, std::string_view reference, const RougeWords& words) {
  Cutter cutter(words);
  const Cut ours = cutter.cut(summary), theirs = cutter.cut(reference);
  return {score_grams(ours.whole, theirs.whole, 1), score_grams(ours.whole, theirs.whole, 2),
          score_of(common_length(ours.whole, theirs.whole), ours.whole.size(), theirs.whole.size()),
          score_lines(ours, theirs, cutter.size())};
}

Rouge best_rouge(std::string_view summary, const std::vector<std::string>& references, const RougeWords& words) {
  check_sides("ROUGE", "references", references.size(), references.size());
  Rouge best = rouge(summary, references[0], words);
  for (size_t i = 1; i < references.size(); ++i) {
    const Rouge found = rouge(summary, references[i], words);
    for (const auto kind : kKinds) {
      if ((found.*kind).f > (best.*kind).f) best.*kind = found.*kind;
    }
  }
  return best;
}

Rouge mean_rouge(const std::vector<std::string>& summaries, const std::vector<std::string>& references, const RougeWords& words) {
  check_sides("ROUGE", "texts", summaries.size(), references.size());
  Rouge sum;
  for (size_t i = 0; i < summaries.size(); ++i) {
    const Rouge found = rouge(summaries[i], references[i], words);
    for (const auto kind : kKinds) {
      for (const auto number : kNumbers) sum.*kind.*number += found.*kind.*number;
    }
  }
  for (const auto kind : kKinds) {
    for (const auto number : kNumbers) sum.*kind.*number /= static_cast<double>(summaries.size());
  }
  return sum;
}

}  // namespace clearhead::metrics
