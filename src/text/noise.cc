// Finds words by character classes. Every change writes the new text and records the ranges that it kept.
#include "text/noise.h"

#include <array>
#include <cmath>

#include "base/random.h"
#include "text/strings.h"
#include "text/unicode.h"

namespace clearhead {
namespace {

struct Letter {
  char32_t c = 0;
  size_t begin = 0, end = 0;  // bytes
};

// Calls take(letters) for each run of letters. Marks belong to the letter before them.
template <class Take>
void for_each_word(std::string_view text, const Take& take) {
  std::vector<Letter> letters;
  for (size_t at = 0; at < text.size();) {
    const text::Decoded next = text::decode_valid(text, at);
    const size_t end = at + next.length;
    if (text::is(next.c, text::kLetter)) {
      letters.push_back({next.c, at, end});
    } else if (!letters.empty() && text::is(next.c, text::kCombiningMark)) {
      letters.back().end = end;
    } else {
      if (!letters.empty()) take(letters);
      letters.clear();
    }
    at = end;
  }
  if (!letters.empty()) take(letters);
}

class Writer {
 public:
  explicit Writer(std::string_view from) : from_(from) {}
  void keep(size_t begin, size_t end) {
    if (begin == end) return;
    const auto from = static_cast<int64_t>(begin), at = static_cast<int64_t>(out_.text.size());
    if (!out_.kept.empty() && out_.kept.back().end == from && out_.kept.back().at + from - out_.kept.back().begin == at) {
      out_.kept.back().end = static_cast<int64_t>(end);
    } else {
      out_.kept.push_back({from, static_cast<int64_t>(end), at});
    }
    out_.text += from_.substr(begin, end - begin);
  }
  void write(std::string_view text) { out_.text += text; }
  // Replaces a character. It counts as kept if both have the same length.
  void replace(size_t begin, size_t end, std::string_view by) {
    keep(begin, end);
    if (by.size() == end - begin) {
      out_.text.replace(out_.text.size() - by.size(), by.size(), by);
      return;
    }
    out_.text.resize(out_.text.size() - (end - begin));
    out_.kept.back().end = static_cast<int64_t>(begin);
    if (out_.kept.back().begin == out_.kept.back().end) out_.kept.pop_back();
    out_.text += by;
  }
  ChangedText done() { return std::move(out_); }

 private:
  std::string_view from_;
  ChangedText out_{};
};

// The neighbouring keys of each letter on a QWERTY keyboard, in its row and in the rows above and below.
constexpr std::array<std::string_view, 26> kBeside = {"qwsz",   "vghn",  "xdfv", "serfcx", "wsdr", "drtgvc", "ftyhbv", "gyujnb", "ujko",
                                                      "huikmn", "jiolm", "kop",  "njk",    "bhjm", "iklp",   "ol",     "wa",     "edft",
                                                      "awedxz", "rfgy",  "yhji", "cfgb",   "qase", "zsdc",   "tghu",   "asx"};

std::string beside(char32_t c, uint64_t draw) {
  const bool is_large = c >= U'A' && c <= U'Z';
  const char32_t small = is_large ? c + 32 : c;
  if (small < U'a' || small > U'z') return "";
  const std::string_view keys = kBeside[small - U'a'];
  const char key = keys[draw % keys.size()];
  return {is_large ? static_cast<char>(key - 32) : key};
}

// Returns the word with one typo. If the kind that was drawn is impossible (all letters are equal, no key is known), a
// letter is doubled.
std::string with_typo(std::string_view text, const std::vector<Letter>& letters, uint64_t kind, uint64_t place) {
  const auto spelled = [&](size_t i) { return text.substr(letters[i].begin, letters[i].end - letters[i].begin); };
  const size_t count = letters.size(), at = place % count;
  size_t first = place % (count - 1);  // first of the two that are swapped: the next pair of different letters
  for (size_t tried = 0; tried + 1 < count && spelled(first) == spelled(first + 1); ++tried) first = (first + 1) % (count - 1);
  const bool swaps = kind % 4 == 0 && spelled(first) != spelled(first + 1), drops = kind % 4 == 1;
  const std::string key = kind % 4 == 2 ? beside(letters[at].c, place / count) : "";
  std::string out;
  for (size_t i = 0; i < count; ++i) {
    if (swaps && i == first) {
      out.append(spelled(i + 1)).append(spelled(i));
      ++i;
    } else if (swaps || i != at) {
      out += spelled(i);
    } else if (!drops) {
      out.append(key.empty() ? spelled(i) : std::string_view(key)).append(key.empty() ? spelled(i) : std::string_view());
    }
  }
  return out;
}

template <class Map>
ChangedText each_character(std::string_view text, const Map& map) {
  Writer out(text);
  std::string mapped;
  for (size_t at = 0; at < text.size();) {
    const text::Decoded next = text::decode_valid(text, at);
    mapped.clear();
    map(next.c, mapped);
    out.replace(at, at + next.length, mapped);
    at += next.length;
  }
  return out.done();
}

}  // namespace

ChangedText with_typos(std::string_view text, double share, uint64_t seed) {
  Writer out(text);
  size_t written = 0;
  uint64_t word = 0;
  const double phase = random_unit(seed, 0);
  for_each_word(text, [&](const std::vector<Letter>& letters) {
    if (letters.size() < 2) return;
    const auto j = static_cast<double>(word++);
    if (std::floor(phase + (j + 1) * share) == std::floor(phase + j * share)) return;
    out.keep(written, letters.front().begin);
    out.write(with_typo(text, letters, random_bits(seed, 2 * word), random_bits(seed, 2 * word + 1)));
    written = letters.back().end;
  });
  out.keep(written, text.size());
  return out.done();
}

ChangedText in_upper_case(std::string_view text) {
  return each_character(text, [](char32_t c, std::string& to) { text::append_utf8(to, text::to_upper(c)); });
}

ChangedText in_lower_case(std::string_view text) {
  return each_character(text, [](char32_t c, std::string& to) {
    const text::Lower lower = text::to_lower(c);
    text::append_utf8(to, lower.first);
    if (lower.second != 0) text::append_utf8(to, lower.second);
  });
}

ChangedText first_words(std::string_view text, double share) {
  const std::vector<std::string_view> words = text::split_at_blanks(text);
  const auto count = static_cast<size_t>(std::ceil(share * static_cast<double>(words.size()) - 1e-9));
  Writer out(text);
  if (count > 0) out.keep(0, static_cast<size_t>(words[count - 1].data() - text.data()) + words[count - 1].size());
  return out.done();
}

ChangedText with_distractor(std::string_view text, std::string_view sentence, bool before) {
  Writer out(text);
  if (before) out.write(std::string(sentence) + " ");
  out.keep(0, text.size());
  if (!before) out.write(" " + std::string(sentence));
  return out.done();
}

std::vector<size_t> tokens_kept(const Encoding& encoding, double share, uint64_t seed) {
  std::vector<size_t> out;
  size_t last = encoding.size();
  bool stays = false;
  for (size_t token = 0; token < encoding.size(); ++token) {
    const bool is_special = encoding.is_special(token);
    if (!is_special) last = token;
    if (!is_special && random_unit(seed, token) < share) continue;
    stays |= !is_special;
    out.push_back(token);
  }
  if (stays || last == encoding.size()) return out;
  out.clear();
  for (size_t token = 0; token < encoding.size(); ++token) {
    if (encoding.is_special(token) || token == last) out.push_back(token);
  }
  return out;
}

Encoding selected(const Encoding& encoding, const std::vector<size_t>& tokens) {
  Encoding out;
  for (const size_t token : tokens) {
    out.ids.push_back(encoding.ids[token]);
    out.type_ids.push_back(encoding.type_ids[token]);
    out.offsets.push_back(encoding.offsets[token]);
    out.segment.push_back(encoding.segment[token]);
  }
  return out;
}

Encoding noisy_encoding(const Tokenizer& tokenizer, const std::string& text, const std::string& pair, const Noise& noise, uint64_t seed) {
  std::string sides[2] = {text::replace_invalid(text), text::replace_invalid(pair)};
  const bool is_noisy = random_unit(seed, 0) < noise.share;
  const double of_case = random_unit(seed, 1);
  for (uint64_t side = 0; side < 2 && is_noisy; ++side) {
    if (noise.typos > 0) sides[side] = with_typos(sides[side], noise.typos, random_bits(seed, 2 + side)).text;
    if (of_case < noise.upper) {
      sides[side] = in_upper_case(sides[side]).text;
    } else if (of_case < noise.upper + noise.lower) {
      sides[side] = in_lower_case(sides[side]).text;
    }
  }
  EncodeOptions options;
  if (!pair.empty()) options.pair = sides[1];
  const Encoding encoding = tokenizer.encode(sides[0], options);
  if (!is_noisy || noise.token_dropout == 0) return encoding;
  return selected(encoding, tokens_kept(encoding, noise.token_dropout, random_bits(seed, 4)));
}

}  // namespace clearhead
