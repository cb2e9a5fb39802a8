// Finds shortest edits over word ids, with the backtracking of rapidfuzz.
#include "metrics/words.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "metrics/checks.h"
#include "text/strings.h"
#include "text/unicode.h"

namespace clearhead::metrics {
namespace {

using Items = std::vector<std::string_view>;

// Splits a text into words as jiwer does: runs of two or more white-space characters become one U+0020, single ones stay as
// they are, and words are separated by U+0020.
Items words_of(std::string_view text) {
  text = text::strip(text);
  Items words;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = at, blanks = 0;
    while (end < text.size()) {
      const text::Decoded next = text::decode_valid(text, end);
      if (!text::is_blank(next.c)) break;
      end += next.length;
      ++blanks;
    }
    if (blanks > 1 || (blanks == 1 && text[at] == ' ')) {
      words.push_back(text.substr(begin, at - begin));
      begin = end;
    }
    at = blanks > 0 ? end : at + text::decode_valid(text, at).length;
  }
  if (begin < text.size()) words.push_back(text.substr(begin));
  return words;
}

Items characters_of(std::string_view text) {
  text = text::strip(text);
  Items out;
  for (size_t at = 0; at < text.size();) {
    const uint32_t length = text::decode_valid(text, at).length;
    out.push_back(text.substr(at, length));
    at += length;
  }
  return out;
}

using Numbers = std::vector<int32_t>;

// Adds the counts of a shortest edit from the reference to the hypothesis. They share neither their first nor their last
// item.
void add_edit(const Numbers& hypothesis, const Numbers& reference, ErrorRate& sums) {
  enum Step : uint8_t { kDiagonal, kInsertion, kDeletion };
  const size_t width = hypothesis.size() + 1;
  std::vector<uint8_t> steps((reference.size() + 1) * width);  // [end in reference, end in hypothesis]
  std::vector<int64_t> above(width), row(width);               // distances, [end in hypothesis]
  for (size_t j = 0; j < width; ++j) above[j] = static_cast<int64_t>(j);
  for (size_t i = 1; i <= reference.size(); ++i) {
    row[0] = static_cast<int64_t>(i);
    for (size_t j = 1; j < width; ++j) {
      const int64_t differs = reference[i - 1] == hypothesis[j - 1] ? 0 : 1;
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + differs});
      // A deletion if it is on a shortest path; else an insertion if the distance at j − 1 is smaller in this row than in the row
      // above; else the diagonal. This is the order in which rapidfuzz chooses.
      steps[i * width + j] = row[j] == above[j] + 1 ? kDeletion : row[j - 1] == above[j - 1] - 1 ? kInsertion : kDiagonal;
    }
    std::swap(above, row);
  }
  size_t i = reference.size(), j = hypothesis.size();
  while (i > 0 && j > 0) {
    const uint8_t step = steps[i * width + j];
    if (step == kDiagonal) ++(reference[i - 1] == hypothesis[j - 1] ? sums.hits : sums.substitutions);
    if (step == kInsertion) ++sums.insertions;
    if (step == kDeletion) ++sums.deletions;
    i -= step != kInsertion;
    j -= step != kDeletion;
  }
  sums.deletions += static_cast<int64_t>(i);
  sums.insertions += static_cast<int64_t>(j);
}

void add_sentence(const Items& hypothesis, const Items& reference, ErrorRate& sums) {
  std::unordered_map<std::string_view, int32_t> numbers;
  const auto numbered = [&](const Items& items) {
    Numbers out;
    for (const std::string_view item : items) out.push_back(numbers.try_emplace(item, static_cast<int32_t>(numbers.size())).first->second);
    return out;
  };
  Numbers ours = numbered(hypothesis), theirs = numbered(reference);
  const auto front = std::mismatch(ours.begin(), ours.end(), theirs.begin(), theirs.end()).first - ours.begin();
  ours.erase(ours.begin(), ours.begin() + front);
  theirs.erase(theirs.begin(), theirs.begin() + front);
  const auto back = std::mismatch(ours.rbegin(), ours.rend(), theirs.rbegin(), theirs.rend()).first - ours.rbegin();
  ours.resize(ours.size() - static_cast<size_t>(back));
  theirs.resize(theirs.size() - static_cast<size_t>(back));
  sums.hits += front + back;
  add_edit(ours, theirs, sums);
}

template <class ItemsOf>
ErrorRate error_rate(std::string_view metric, const std::vector<std::string>& hypotheses, const std::vector<std::string>& references,
                     const ItemsOf& items_of) {
  check_sides(metric, "sentences", hypotheses.size(), references.size());
  ErrorRate out;
  for (size_t i = 0; i < references.size(); ++i) {
    const std::string hypothesis = text::replace_invalid(hypotheses[i]), reference = text::replace_invalid(references[i]);
    add_sentence(items_of(hypothesis), items_of(reference), out);
  }
  const auto wrong = static_cast<double>(out.substitutions + out.insertions + out.deletions);
  const int64_t length = out.hits + out.substitutions + out.deletions;
  out.rate = length == 0 ? wrong : wrong / static_cast<double>(length);
  return out;
}

}  // namespace

ErrorRate word_error_rate(const std::vector<std::string>& hypotheses, const std::vector<std::string>& references) {
  return error_rate("word error rate", hypotheses, references, words_of);
}

ErrorRate character_error_rate(const std::vector<std::string>& hypotheses, const std::vector<std::string>& references) {
  return error_rate("character error rate", hypotheses, references, characters_of);
}

double perplexity(double negative_log_likelihood, int64_t tokens) {
  if (tokens <= 0) fail(ErrorCode::kInvalidArgument, "perplexity: {} tokens; expected at least one", tokens);
  check_finite("perplexity", "negative log-likelihood", {&negative_log_likelihood, 1});
  return std::exp(negative_log_likelihood / static_cast<double>(tokens));
}

}  // namespace clearhead::metrics
