// Each rule is a function from the start of a word to its end, over classes of characters. Patterns are recognised by their
// text.
#include "text/splitter.h"

#include "text/unicode.h"

namespace clearhead::text {

const std::string_view kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

// The classes and the length of a character; both are 0 beyond the end of the text.
struct Seen {
  uint16_t classes = 0;
  uint32_t length = 0;
};

Seen look(std::string_view text, size_t at) {
  if (at >= text.size()) return {};
  const Decoded decoded = decode_valid(text, at);
  return {classes(decoded.c), decoded.length};
}

constexpr uint16_t kNotOther = kSpace | kLetter | kNumber;

// Returns the end of a run of at most `limit` characters that have any class of `wanted` or, if that is 0, are neither space,
// letter nor number.
size_t run_end(std::string_view text, size_t at, uint16_t wanted, uint32_t limit = UINT32_MAX) {
  for (uint32_t count = 0; count < limit; ++count) {
    const Seen seen = look(text, at);
    if (seen.length == 0) break;
    if (wanted != 0 ? (seen.classes & wanted) == 0 : (seen.classes & kNotOther) != 0) break;
    at += seen.length;
  }
  return at;
}

// Returns the end of the 's, 't, 're, 've, 'm, 'll or 'd that begins with the apostrophe at `at`; `at` if there is none. If
// case is folded, U+017F is an s.
size_t contraction_end(std::string_view text, size_t at, bool folds_case) {
  const auto letter = [&](size_t k) -> char {
    if (k >= text.size()) return 0;
    const char c = text[k];
    return folds_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  const char first = letter(at + 1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
  if ((first == 'r' || first == 'v') && letter(at + 2) == 'e') return at + 3;
  if (first == 'l' && letter(at + 2) == 'l') return at + 3;
  if (folds_case && text.substr(at + 1, 2) == "\xC5\xBF") return at + 3;
  return at;
}

// \s+(?!\S)|\s+ at a space: all spaces; if a word follows, the last of several spaces is left to it.
size_t spaces_end(std::string_view text, size_t at) {
  const size_t end = run_end(text, at, kSpace);
  if (end == text.size()) return end;
  const size_t last = previous_boundary(text, end);
  return last > at ? last : end;
}

size_t gpt2_end(std::string_view text, size_t at) {
  if (text[at] == '\'') {
    const size_t end = contraction_end(text, at, false);
    if (end > at) return end;
  }
  const size_t from = text[at] == ' ' ? at + 1 : at;
  const Seen seen = look(text, from);
  if (seen.length > 0) {
    if (seen.classes & kLetter) return run_end(text, from + seen.length, kLetter);
    if (seen.classes & kNumber) return run_end(text, from + seen.length, kNumber);
    if ((seen.classes & kSpace) == 0) return run_end(text, from + seen.length, 0);
  }
  return spaces_end(text, at);
}

size_t llama3_end(std::string_view text, size_t at, uint32_t digits) {
  if (text[at] == '\'') {
    const size_t end = contraction_end(text, at, true);
    if (end > at) return end;
  }
  const Seen first = look(text, at);
  if (first.classes & kLetter) return run_end(text, at + first.length, kLetter);
  if ((first.classes & (kLineBreak | kNumber)) == 0) {
    const size_t letters = run_end(text, at + first.length, kLetter);
    if (letters > at + first.length) return letters;
  }
  if (first.classes & kNumber) return run_end(text, at, kNumber, digits);
  const size_t from = text[at] == ' ' ? at + 1 : at;
  const size_t others = run_end(text, from, 0);
  if (others > from) return run_end(text, others, kLineBreak);
  // Only white space is left: \s*[\r\n]+ ends after the last line break of the run.
  const size_t end = run_end(text, at, kSpace);
  const size_t line_break = text.substr(at, end - at).find_last_of("\r\n");
  if (line_break != std::string_view::npos) return at + line_break + 1;
  return spaces_end(text, at);
}

}  // namespace

std::optional<WordRule> known_rule(std::string_view pattern) {
  if (pattern == kGpt2Pattern) return WordRule{true, 0};
  if (pattern == kLlama3Pattern) return WordRule{false, 3};
  if (pattern == kQwenPattern) return WordRule{false, 1};
  return std::nullopt;
}

size_t word_end(const WordRule& rule, std::string_view text, size_t at) {
  return rule.is_gpt2 ? gpt2_end(text, at) : llama3_end(text, at, rule.digits);
}

}  // namespace clearhead::text
