// Makes the text of known_answers.h: invented words made of syllables, a passage that occurs twice, a needle and its question.
#include <algorithm>
#include <array>
#include <string_view>

#include "base/format.h"
#include "base/random.h"
#include "models/known_answers.h"

namespace clearhead {
namespace {

constexpr std::string_view kStatement = "the code word is <";

std::string make_word(RandomSequence& dice) {
  constexpr std::string_view kOpen = "bdfghjklmnprstvz", kMiddle = "aeiou", kClose = "lmnrst";
  std::string word;
  const size_t syllables = 1 + dice.roll(3);
  for (size_t at = 0; at < syllables; ++at) {
    word.push_back(kOpen[dice.roll(kOpen.size())]);
    word.push_back(kMiddle[dice.roll(kMiddle.size())]);
    if (dice.roll(3) == 0) word.push_back(kClose[dice.roll(kClose.size())]);
  }
  return word;
}

/// Makes sentences of words from a list whose first entries are drawn more often, truncated to exactly `bytes`.
std::string make_sentences(RandomSequence& dice, const std::vector<std::string>& words, int64_t bytes) {
  std::string text;
  while (static_cast<int64_t>(text.size()) < bytes) {
    const size_t length = 5 + dice.roll(10);
    for (size_t at = 0; at < length; ++at) {
      text += words[std::min(dice.roll(words.size()), dice.roll(words.size()))];
      text += at + 1 < length ? (dice.roll(9) == 0 ? ", " : " ") : ".\n";
    }
  }
  text.resize(static_cast<size_t>(bytes));
  return text;
}

}  // namespace

KnownText make_known_text(int64_t bytes, uint64_t seed) {
  if (bytes < 600) fail(ErrorCode::kInvalidArgument, "make_known_text: expected at least 600 bytes, found {}", bytes);
  RandomSequence dice(seed);
  std::vector<std::string> words;
  for (int at = 0; at < 400; ++at) words.push_back(make_word(dice));

  std::string digits = "0123456789";
  dice.shuffle(digits);

  KnownText known;
  known.answer_text = digits.substr(0, 8) + ">";
  const std::string needle = "\n" + std::string(kStatement) + known.answer_text + "\n";
  const std::string question = "\n" + std::string(kStatement);
  const std::string passage = make_sentences(dice, words, std::min<int64_t>(320, bytes / 8));

  // [a | needle | b | passage | c | passage | d | question]: the needle is in the second tenth; the passages start at 30 % and 70 %.
  const auto upto = [&](int64_t tenths_of_tenths) { return bytes * tenths_of_tenths / 100; };
  const int64_t spot = upto(10) + static_cast<int64_t>(dice.roll(static_cast<size_t>(std::max<int64_t>(upto(8), 1))));
  const auto grow = [&](int64_t end) { known.text += make_sentences(dice, words, end - static_cast<int64_t>(known.text.size())); };
  const auto append = [&](const std::string& piece) {
    const auto begin = static_cast<int64_t>(known.text.size());
    known.text += piece;
    return Range{begin, begin + static_cast<int64_t>(piece.size())};
  };
  grow(spot);
  const Range stated = append(needle);
  known.needle = {stated.begin + 1, stated.end - 1};
  known.answer = {known.needle.begin + static_cast<int64_t>(kStatement.size()), known.needle.end};
  grow(std::max(upto(30), static_cast<int64_t>(known.text.size()) + 8));
  known.first_passage = append(passage);
  grow(std::max(upto(70), static_cast<int64_t>(known.text.size()) + 8));
  known.second_passage = append(passage);
  grow(bytes - static_cast<int64_t>(question.size()));
  const Range asked = append(question);
  known.question = {asked.begin + 1, asked.end};
  return known;
}

}  // namespace clearhead
