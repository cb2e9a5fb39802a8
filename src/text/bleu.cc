// Splits sentences into words as sacrebleu's tokenisers do, and counts clipped matches of n-grams of 1 to 4 words. The n-grams of
// a sentence are kept in sorted arrays.
#include "text/bleu.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <unordered_map>

#include "base/format.h"
#include "clearhead/error.h"
#include "text/strings.h"
#include "text/unicode.h"

namespace clearhead {
namespace {

constexpr size_t kOrders = 4;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_stop(char c) { return c == '.' || c == ','; }
bool is_apart(char c) {
  return (c >= ' ' && c <= '~') && !is_digit(c) && !std::isalpha(static_cast<unsigned char>(c)) && c != '\'' && c != '-' && !is_stop(c);
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
}

// For every two neighbouring bytes that satisfy `first` and `second`, puts spaces around the second (`around_second`) or
// around the first. Pairs do not overlap: the search continues after both bytes. It may work on bytes, because characters
// beyond ASCII are neither digits nor stops, and spaces are only put beside ASCII.
template <class First, class Second>
std::string set_apart(const std::string& text, bool around_second, First first, Second second) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (size_t at = 0; at < text.size(); ++at) {
    if (at + 1 < text.size() && first(text[at]) && second(text[at + 1])) {
      if (around_second) {
        out += {text[at], ' ', text[at + 1], ' '};
      } else {
        out += {' ', text[at], ' ', text[at + 1]};
      }
      ++at;
    } else {
      out += text[at];
    }
  }
  return out;
}

// Separates punctuation by spaces. Stops, commas and hyphens beside a digit may stay attached, so it matters whether the
// sentence begins and ends with a space.
std::string tokenised(std::string_view text) {
  std::string spaced;
  for (const char c : text) {
    if (is_apart(c)) {
      spaced += {' ', c, ' '};
    } else {
      spaced += c;
    }
  }
  const auto no_digit = [](char c) { return !is_digit(c); };
  spaced = set_apart(spaced, true, no_digit, is_stop);
  spaced = set_apart(spaced, false, is_stop, no_digit);
  return set_apart(spaced, true, is_digit, [](char c) { return c == '-'; });
}

std::string mteval(std::string_view sentence) {
  std::string text(sentence);
  replace_all(text, "<skipped>", "");
  replace_all(text, "-\n", "");
  replace_all(text, "&quot;", "\"");
  replace_all(text, "&amp;", "&");
  replace_all(text, "&lt;", "<");
  replace_all(text, "&gt;", ">");
  return tokenised(' ' + text + ' ');
}

// True for the characters that sacrebleu's `zh` treats as Chinese. It writes its range for the ideographs above U+20000 as
// strings of five digits and compares strings, so in effect the range is U+2001..U+2A6D: it contains typographic quotes and
// dashes, but not those ideographs.
bool is_chinese(char32_t c) {
  constexpr char32_t kRanges[][2] = {{0x2001, 0x2A6D}, {0x2E80, 0x2FDF}, {0x2FF0, 0x303F}, {0x3100, 0x312F}, {0x31A0, 0x31BF},
                                     {0x31C0, 0x31EF}, {0x3200, 0x4DB5}, {0x4E00, 0x9FBB}, {0xF900, 0xFA2D}, {0xFA30, 0xFA6A},
                                     {0xFE10, 0xFE1F}, {0xFE30, 0xFE4F}, {0xFF00, 0xFFEF}};
  return std::any_of(std::begin(kRanges), std::end(kRanges), [c](const auto& range) { return c >= range[0] && c <= range[1]; });
}

// Puts spaces around every character for which is_alone(c) is true.
template <class IsAlone>
std::string set_alone(std::string_view text, const IsAlone& is_alone) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const text::Decoded next = text::decode_valid(text, at);
    const bool alone = is_alone(next.c);
    if (alone) out += ' ';
    out += text.substr(at, next.length);
    if (alone) out += ' ';
    at += next.length;
  }
  return out;
}

// Prepares a sentence so that its words are separated by white space.
std::string prepared(std::string_view sentence, BleuWords words) {
  const std::string valid = text::replace_invalid(sentence);
  const std::string_view text = text::strip_end(valid);
  switch (words) {
    case BleuWords::kChinese: return tokenised(set_alone(text::strip(text), is_chinese));
    case BleuWords::kCharacters: return set_alone(text, [](char32_t) { return true; });
    case BleuWords::kMteval13a: break;
  }
  return mteval(text);
}

using Gram = std::array<int32_t, kOrders>;

// All n-grams of one order, sorted.
std::vector<Gram> grams(const std::vector<int32_t>& words, size_t order) {
  std::vector<Gram> out;
  for (size_t at = 0; at + order <= words.size(); ++at) {
    Gram& gram = out.emplace_back();
    std::copy_n(words.begin() + static_cast<ptrdiff_t>(at), order, gram.begin());
  }
  std::sort(out.begin(), out.end());
  return out;
}

void count_sentence(const std::string& hypothesis, const std::string& reference, BleuWords kind, Bleu& sums) {
  const std::string texts[2] = {prepared(hypothesis, kind), prepared(reference, kind)};
  std::unordered_map<std::string_view, int32_t> numbers;
  std::vector<int32_t> words[2];
  for (int side = 0; side < 2; ++side) {
    for (const std::string_view word : text::split_at_blanks(texts[side])) {
      words[side].push_back(numbers.try_emplace(word, static_cast<int32_t>(numbers.size())).first->second);
    }
  }
  sums.hypothesis_length += static_cast<int64_t>(words[0].size());
  sums.reference_length += static_cast<int64_t>(words[1].size());
  for (size_t n = 0; n < kOrders; ++n) {
    const std::vector<Gram> ours = grams(words[0], n + 1), theirs = grams(words[1], n + 1);
    std::vector<Gram> both;
    std::set_intersection(ours.begin(), ours.end(), theirs.begin(), theirs.end(), std::back_inserter(both));
    sums.matched[n] += static_cast<int64_t>(both.size());
    sums.total[n] += static_cast<int64_t>(ours.size());
  }
}

}  // namespace

namespace {

constexpr std::pair<std::string_view, BleuWords> kNamed[] = {
    {"13a", BleuWords::kMteval13a}, {"zh", BleuWords::kChinese}, {"char", BleuWords::kCharacters}};

}  // namespace

std::optional<BleuWords> bleu_words_named(std::string_view name) {
  for (const auto& [known, words] : kNamed) {
    if (known == name) return words;
  }
  return std::nullopt;
}

std::string bleu_signature(BleuWords words) {
  for (const auto& [name, known] : kNamed) {
    if (known == words) return format("nrefs:1|case:mixed|eff:no|tok:{}|smooth:exp", name);
  }
  return "";
}

std::string bleu_words(std::string_view sentence, BleuWords words) {
  std::string out;
  const std::string text = prepared(sentence, words);
  for (const std::string_view word : text::split_at_blanks(text)) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  return out;
}

Bleu bleu(const std::vector<std::string>& hypotheses, const std::vector<std::string>& references, BleuWords words) {
  if (hypotheses.size() != references.size()) {
    fail(ErrorCode::kInvalidArgument, "BLEU: {} sentences against {} references; expected one reference for each sentence",
         hypotheses.size(), references.size());
  }
  Bleu sums;
  for (size_t at = 0; at < hypotheses.size(); ++at) count_sentence(hypotheses[at], references[at], words, sums);
  return bleu_of(sums);
}

Bleu bleu_of(const Bleu& sums) {
  Bleu out = sums;
  out.score = 0;
  out.precisions = {};
  const double ours = static_cast<double>(out.hypothesis_length), theirs = static_cast<double>(out.reference_length);
  out.brevity_penalty = ours >= theirs ? 1 : ours > 0 ? std::exp(1 - theirs / ours) : 0;
  if (out.matched[0] == 0) return out;
  double smoothing = 1, logarithms = 0;
  for (size_t n = 0; n < kOrders; ++n) {
    if (out.total[n] == 0) return out;  // no sentence has n + 1 words
    const double total = static_cast<double>(out.total[n]);
    if (out.matched[n] == 0) smoothing *= 2;
    out.precisions[n] = out.matched[n] == 0 ? 100 / (smoothing * total) : 100 * static_cast<double>(out.matched[n]) / total;
    logarithms += std::log(out.precisions[n]);
  }
  out.score = out.brevity_penalty * std::exp(logarithms / kOrders);
  return out;
}

}  // namespace clearhead
